"""The real boto3, signing with keys that are nobody's. It asks nobody."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from dbkit.credentials import AwsRdsCredential, CredentialError, Token
from dbkit.errors import SettingsError
from dbkit.settings import DatabaseSettings

from ..shown import everything_shown
from .helpers import failure_of, go_straight, in_threads

HOST = "orders.abc123.eu-west-1.rds.amazonaws.com"
KEY_ID = "AKIACANARY"
KEY = "canary-secret-access-key"
SESSION = "canary-session-token"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys in the environment, and nowhere else to look."""
    go_straight(monkeypatch)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)


def settings(**given: object) -> DatabaseSettings:
    return DatabaseSettings.load({"database": "orders", **given}, environ={}, env_file=None)


def token_of(credential: AwsRdsCredential) -> Token:
    got = credential.current()
    assert isinstance(got, Token)
    return got


def parts_of(token: Token) -> tuple[str, dict[str, str]]:
    url = urlsplit("https://" + token.value.reveal())
    return url.netloc, {key: value for key, (value,) in parse_qs(url.query).items()}


def test_a_token_names_host_port_and_user_and_ends_after_15_minutes() -> None:
    credential = AwsRdsCredential(HOST, 5433, "app user", region="eu-west-1")
    before = time.time()
    token = token_of(credential)
    after = time.time()

    server, query = parts_of(token)
    assert server == f"{HOST}:5433"
    assert query["Action"] == "connect"
    assert query["DBUser"] == "app user"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Credential"].startswith(f"{KEY_ID}/")
    assert query["X-Amz-Credential"].endswith("/eu-west-1/rds-db/aws4_request")
    assert token.expires_at is not None
    assert before + 900 <= token.expires_at <= after + 900
    assert KEY not in token.value.reveal()


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (HOST, "eu-west-1"),
        ("proxy.proxy-abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
        ("ORDERS.cluster-ro-abc.ap-southeast-2.rds.amazonaws.com.", "ap-southeast-2"),
        ("orders.abc.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("rds.amazonaws.com", "sa-east-1"),
        ("eu-west-1.rds.amazonaws.com.evil.example", "sa-east-1"),
        ("orders.internal", "sa-east-1"),
    ],
)
def test_the_region_is_the_one_in_the_host_name(host: str, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    _, query = parts_of(token_of(AwsRdsCredential(host, username="app")))
    assert query["X-Amz-Credential"].endswith(f"/{region}/rds-db/aws4_request")


def test_a_port_left_to_libpq_is_the_one_it_goes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6432")
    bound = AwsRdsCredential().bound_to(settings(host=HOST, username="app"))
    assert parts_of(token_of(bound))[0] == f"{HOST}:6432"


def test_a_hundred_threads_share_one_token() -> None:
    signed: list[str] = []

    class Counting:
        def generate_db_auth_token(self, host: str, port: int, username: str, region: str | None, /) -> str:
            signed.append(f"{username}@{host}:{port} in {region}")
            return "signed"

    credential = AwsRdsCredential("h", 1, "u", region="r", client=Counting())
    got = in_threads(credential.current, 100)
    assert len({id(token) for token in got}) == 1
    assert signed == ["u@h:1 in r"]


def test_a_given_client_signs_in_its_region() -> None:
    client = boto3.Session(region_name="us-east-2").client("rds")
    _, query = parts_of(token_of(AwsRdsCredential(HOST, username="app", client=client)))
    assert "/us-east-2/" in query["X-Amz-Credential"]
    _, query = parts_of(token_of(AwsRdsCredential(HOST, username="app", client=client, region="us-west-1")))
    assert "/us-west-1/" in query["X-Amz-Credential"]


def test_after_a_rejection_the_keys_are_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    credential = AwsRdsCredential(HOST, username="app", region="eu-west-1")
    first = token_of(credential)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    renewed = credential.renewed(first)
    assert isinstance(renewed, Token)
    assert parts_of(renewed)[1]["X-Amz-Credential"].startswith("AKIAOTHER/")
    assert credential.current() is renewed


def test_the_client_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    really = boto3.Session.client

    def counted(self: boto3.Session, name: str, *rest: object) -> object:
        made.append(name)
        return really(self, name, *rest)

    monkeypatch.setattr(boto3.Session, "client", counted)
    credential = AwsRdsCredential(HOST, username="app", region="eu-west-1")
    credential.fetch()
    credential.fetch()
    assert made == ["rds"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_bound_copy_starts_afresh_in_a_forked_child() -> None:
    asked = threading.Event()
    answer = threading.Event()

    class Slow:
        def generate_db_auth_token(self, host: str, port: int, username: str, region: str | None, /) -> str:
            asked.set()
            assert answer.wait(60)
            return f"{username}@{host}"

    bound = AwsRdsCredential(username="app", region="r", client=Slow()).bound_to(settings(host="h"))
    mine = threading.Thread(target=bound.current)
    mine.start()
    assert asked.wait(60)  # a fetch is under way at the moment of the fork, on a thread that the child lacks
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer.set()
            os.write(write, token_of(bound).value.reveal().encode())
        finally:
            os._exit(0)
    os.close(write)
    answer.set()
    mine.join(60)
    with os.fdopen(read, "rb") as answers:
        assert answers.read() == b"app@h"
    os.waitpid(child, 0)


def test_the_regions_variable_is_the_one_boto3_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    credential = AwsRdsCredential("orders.internal", username="app")
    error = failure_of(credential.current)
    assert "region=..." in str(error)
    assert "AWS_DEFAULT_REGION" in str(error)
    assert "does not read AWS_REGION" in str(error)
    assert "NoRegionError" in everything_shown(error)

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    _, query = parts_of(token_of(credential))
    assert "/eu-north-1/" in query["X-Amz-Credential"]


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_no_keys_or_half_of_them_is_an_error_without_the_rest(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    error = failure_of(AwsRdsCredential(HOST, username="app", region="eu-west-1").current)
    assert "credentials" in str(error)
    everything = everything_shown(error)
    assert KEY not in everything
    assert SESSION not in everything


def test_nothing_shows_a_key_or_a_token() -> None:
    credential = AwsRdsCredential(HOST, username="app", region="eu-west-1")
    token = token_of(credential)
    assert repr(credential) == f"AwsRdsCredential(host='{HOST}', username='app', region='eu-west-1')"
    for text in (repr(credential), repr(token), repr(vars(credential))):
        for secret in (KEY, SESSION, parts_of(token)[1]["X-Amz-Signature"]):
            assert secret not in text


# ---- what is filled in from the settings


def test_what_is_missing_comes_from_the_settings() -> None:
    unbound = AwsRdsCredential(region="eu-west-1", timeout=3)
    bound = unbound.bound_to(settings(host=HOST, port=5444, username="app"))

    assert bound is not unbound
    assert bound.timeout == 3
    server, query = parts_of(token_of(bound))
    assert server == f"{HOST}:5444"
    assert query["DBUser"] == "app"
    assert "host" not in repr(unbound)
    with pytest.raises(CredentialError, match="host and a username"):
        unbound.current()


def test_what_is_given_holds() -> None:
    unbound = AwsRdsCredential(HOST, region="eu-west-1")
    bound = unbound.bound_to(settings(host="localhost", username="app"))
    assert parts_of(token_of(bound))[0] == f"{HOST}:5432"

    whole = AwsRdsCredential(HOST, 5432, "app")
    assert whole.bound_to(settings(host="a,b", username="other")) is whole


def test_bound_twice_it_signs_for_each() -> None:
    unbound = AwsRdsCredential(username="app", region="eu-west-1")
    first, second = (unbound.bound_to(settings(host=host)) for host in ("one", "two"))
    assert parts_of(token_of(first))[0] == "one:5432"
    assert parts_of(token_of(second))[0] == "two:5432"


def test_a_token_at_hand_is_not_taken_along_to_another_port() -> None:
    unbound = AwsRdsCredential(HOST, username="app", region="eu-west-1")
    assert parts_of(token_of(unbound))[0] == f"{HOST}:5432"
    assert parts_of(token_of(unbound.bound_to(settings(port=5444))))[0] == f"{HOST}:5444"


@pytest.mark.parametrize(
    ("given", "complaints"),
    [
        ({"username": "app"}, ["host", "cannot be left to libpq"]),
        ({"host": HOST}, ["username", "signed for a user"]),
        ({}, ["2 bad settings", "host", "username"]),
        ({"host": f"{HOST},other", "username": "app"}, [f"host={HOST},other (mapping)", "one host name"]),
        ({"host": "/var/run/postgresql", "username": "app"}, ["host=/var/run/postgresql", "not for a socket"]),
    ],
)
def test_settings_that_cannot_be_signed_for_are_refused(given: dict[str, object], complaints: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        AwsRdsCredential(region="eu-west-1").bound_to(settings(**given))
    for complaint in complaints:
        assert complaint in str(caught.value)


def test_several_ports_are_refused_unless_they_are_one() -> None:
    unbound = AwsRdsCredential("orders.internal", username="app")
    with pytest.raises(SettingsError, match="one port"):
        unbound.bound_to(settings(host="a,b", port="5432,5433"))
    assert "port=5433" in repr(unbound.bound_to(settings(host="a,b", port="5433,5433")))


@pytest.mark.parametrize(
    ("given", "error", "complaint"),
    [
        ({"host": "a,b"}, ValueError, "one host name"),
        ({"host": ""}, ValueError, "host must not be empty"),
        ({"port": 0}, ValueError, "from 1 to 65535"),
        ({"port": "5432"}, ValueError, "whole number"),
        ({"username": 7}, TypeError, "username must be a str"),
        ({"region": " "}, ValueError, "region must not be empty"),
        ({"client": boto3}, TypeError, "client for rds"),
        ({"timeout": 0}, ValueError, "timeout"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, object], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        AwsRdsCredential(**given)  # type: ignore[arg-type]
