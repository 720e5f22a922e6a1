"""The real google-auth against a metadata server, and a token endpoint, on loopback."""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import google.auth.transport.requests
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.compute_engine import _metadata
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials

from dbkit.credentials import CredentialError, GcpCredential, Token
from dbkit.credentials.gcp import GCP_SCOPE

from ..pool.helpers import eventually
from ..shown import everything_shown
from .helpers import (
    BOUND,
    Asked,
    Provider,
    failure_of,
    go_straight,
    in_threads,
    provider,
)

TOKEN = "canary-access-token"
REFRESH = "canary-refresh-token"
CLIENT = "canary-client-secret"


@pytest.fixture
def lives() -> list[int]:
    """Seconds the tokens to come are good for; an hour for those after the last."""
    return []


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lives: list[int]) -> Iterator[Provider]:
    """A metadata server, which is also a token endpoint, and gives another token each time."""
    numbers = itertools.count(1)

    def answer(asked: Asked) -> tuple[int, object]:
        path = urlsplit(asked.path).path
        if path.endswith("/token"):
            life = lives.pop(0) if lives else 3600
            return 200, {"access_token": f"{TOKEN}-{next(numbers)}", "expires_in": life, "token_type": "Bearer"}
        if "/service-accounts/" in path:
            return 200, {"email": "app@project.iam.gserviceaccount.com", "scopes": ["from-the-instance"]}
        return 200, "project"

    go_straight(monkeypatch)
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_", "GCLOUD_")) or name == "NO_GCE_CHECK":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # nobody's gcloud
    with provider(answer) as running:
        monkeypatch.setenv("GCE_METADATA_IP", running.address)
        # google-auth reads GCE_METADATA_HOST once, when it is imported
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", running.address)
        monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", False)
        yield running


def tokens_asked_for(cloud: Provider) -> list[Asked]:
    return [asked for asked in cloud.asked if urlsplit(asked.path).path.endswith("/token")]


def shown(proof: object) -> str:
    assert isinstance(proof, Token)
    return proof.value.reveal()


def user(cloud: Provider, **given: object) -> Credentials:
    """Credentials of a person, as ``gcloud`` leaves them."""
    return Credentials(
        **{"token": None, **given},
        refresh_token=REFRESH,
        token_uri=f"{cloud.url}/token",
        client_id="client",
        client_secret=CLIENT,
    )


def naive(seconds: float) -> datetime:
    """A time as google-auth has it: UTC that does not say so."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)


def test_a_token_with_googles_own_end_is_asked_for_once(cloud: Provider, lives: list[int]) -> None:
    lives.append(4321)
    credential = GcpCredential()
    began = time.time()

    first, second = credential.current(), credential.current()

    assert isinstance(first, Token)
    assert first is second
    assert shown(first) == f"{TOKEN}-1"
    assert first.expires_at == pytest.approx(began + 4321, abs=BOUND / 2)
    (asked,) = tokens_asked_for(cloud)
    assert parse_qs(urlsplit(asked.path).query)["scopes"] == [GCP_SCOPE]


def test_another_scope_is_passed_on(cloud: Provider) -> None:
    GcpCredential(scope="https://www.googleapis.com/auth/alloydb.login").current()
    query = parse_qs(urlsplit(tokens_asked_for(cloud)[0].path).query)
    assert query["scopes"] == ["https://www.googleapis.com/auth/alloydb.login"]


def test_a_hundred_threads_at_expiry_ask_once(cloud: Provider, lives: list[int]) -> None:
    lives.append(0)
    credential = GcpCredential()
    assert shown(credential.current()) == f"{TOKEN}-1"  # good for no more than this

    cloud.open.clear()
    before = len(cloud.asked)
    waiting = threading.Thread(target=lambda: (eventually(lambda: len(cloud.asked) > before), cloud.open.set()))
    waiting.start()
    got = in_threads(credential.current, 100)
    waiting.join(BOUND)

    assert [shown(one) for one in got] == [f"{TOKEN}-2"] * 100
    assert len(tokens_asked_for(cloud)) == 2


def test_a_rejected_token_is_not_given_again(cloud: Provider) -> None:
    credential = GcpCredential()
    first = credential.current()
    renewed = in_threads(lambda: credential.renewed(first), 20)
    assert {shown(one) for one in renewed} == {f"{TOKEN}-2"}
    assert len(tokens_asked_for(cloud)) == 2


@pytest.mark.parametrize(
    ("left", "given_again"),
    [(3600.0, True), (290.0, False), (-1.0, False)],  # google-auth itself thinks 290 s good
)
def test_a_given_token_is_used_while_there_is_life_in_it(cloud: Provider, left: float, given_again: bool) -> None:
    given = user(cloud, token="at hand", expiry=naive(left))
    credential = GcpCredential(given)
    token = credential.current()
    assert isinstance(token, Token)
    if given_again:
        assert shown(token) == "at hand"
        assert token.expires_at == pytest.approx(time.time() + left, abs=BOUND / 2)
    else:
        assert shown(token) == f"{TOKEN}-1"
    assert len(tokens_asked_for(cloud)) == (0 if given_again else 1)


def test_a_given_token_that_is_rejected_is_refreshed(cloud: Provider) -> None:
    credential = GcpCredential(user(cloud, token="at hand", expiry=naive(3600)))
    first = credential.current()
    renewed = credential.renewed(first)
    assert shown(renewed) == f"{TOKEN}-1"
    (asked,) = tokens_asked_for(cloud)
    assert parse_qs(asked.body)["refresh_token"] == [REFRESH]


def test_a_token_that_never_ends_is_used_until_it_is_rejected() -> None:
    credential = GcpCredential(Credentials("at hand"))
    first = credential.current()
    assert first == Token("at hand")
    assert "do not contain the necessary fields" in str(failure_of(lambda: credential.renewed(first)))


def test_a_service_account_without_a_scope_gets_ours(cloud: Provider) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    given = service_account.Credentials.from_service_account_info(
        {"client_email": "app@project.iam.gserviceaccount.com", "token_uri": f"{cloud.url}/token", "private_key": pem}
    )
    assert given.requires_scopes

    assert shown(GcpCredential(given).current()) == f"{TOKEN}-1"
    (asked,) = tokens_asked_for(cloud)
    claims = google.auth.jwt.decode(parse_qs(asked.body)["assertion"][0], verify=False)
    assert claims["scope"] == GCP_SCOPE


def test_a_hanging_provider_is_waited_for_no_longer_than_timeout(cloud: Provider) -> None:
    cloud.open.clear()
    credential = GcpCredential(user(cloud), timeout=0.2)
    began = time.monotonic()
    with pytest.raises(CredentialError, match=r"did not answer within timeout=0\.2 s"):
        credential.current()
    assert time.monotonic() - began < BOUND / 4
    eventually(lambda: credential.pending() is None)  # a call of ours ends by itself


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (400, {"error": "invalid_grant", "error_description": "account was deleted"}, "account was deleted"),
        (403, {"error": "access_denied"}, "access_denied"),
        (200, {"refresh_token": REFRESH, "id_token": TOKEN}, "No access token in response"),
    ],
)
def test_a_failure_names_the_reason_and_no_secret(
    cloud: Provider, caplog: pytest.LogCaptureFixture, status: int, answer: object, reason: str
) -> None:
    cloud.answer = lambda _: (status, answer)
    caplog.set_level(logging.DEBUG)

    error = failure_of(GcpCredential(user(cloud)).current)

    assert str(error).startswith(f"GcpCredential(Credentials, scope='{GCP_SCOPE}') failed: RefreshError: ")
    assert re.search(reason, str(error))
    assert "<" not in str(error)  # no object's repr
    everything = everything_shown(error) + caplog.text
    for secret in (REFRESH, CLIENT, TOKEN):
        assert secret not in everything


def test_a_failing_metadata_server_is_named(cloud: Provider) -> None:
    really = cloud.answer

    def answer(asked: Asked) -> tuple[int, object]:
        return (403, {"error": "no service account"}) if "/token" in asked.path else really(asked)

    cloud.answer = answer
    error = failure_of(GcpCredential().current)
    assert "no service account" in str(error)
    assert "object at 0x" not in str(error)
    assert TOKEN not in everything_shown(error)


def test_neither_repr_nor_the_log_shows_a_token(cloud: Provider, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credential = GcpCredential(user(cloud))
    got = credential.current()
    credential.renewed(got)
    assert len(tokens_asked_for(cloud)) == 2
    for text in (caplog.text, repr(credential), repr(got), repr(vars(credential))):
        for secret in (REFRESH, CLIENT, TOKEN):
            assert secret not in text


def test_what_are_no_credentials_is_refused() -> None:
    with pytest.raises(TypeError, match="must be google-auth's, not str"):
        GcpCredential("token")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scope must not be empty"):
        GcpCredential(scope="")
