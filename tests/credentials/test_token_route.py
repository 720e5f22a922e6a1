"""Where a token may travel, and which credential a name or an argument means: nothing here leaves the machine."""

from __future__ import annotations

import psycopg2
import pytest
from sqlalchemy import exc

from dbkit import DatabaseConnectionManager, DatabaseSettings, SettingsError
from dbkit.credentials import Token
from dbkit.credentials.remote import RemoteCredential

from ..shown import everything_shown
from .broker import CANARY, FAR, whoami

OUT = {"host": "db.example", "username": "app", "database": "shop"}


def connects_by(monkeypatch, connect):
    """Connectors made from now on connect by this function."""
    monkeypatch.setattr(psycopg2, "connect", connect)


def fetched(asked):
    def token():
        asked.append(1)
        return Token(CANARY, FAR)

    return token


@pytest.mark.parametrize("sslmode", [None, "prefer", "require", "verify-ca"])
def test_a_token_does_not_travel_without_a_proof_of_who_the_server_is(sslmode, monkeypatch):
    connects_by(monkeypatch, lambda **_: pytest.fail("it travelled"))
    settings = DatabaseSettings.load(OUT | {"sslmode": sslmode}, environ={}, env_file=None)
    with DatabaseConnectionManager(settings, credential=fetched([]), min_size=0) as db:
        with pytest.raises(SettingsError, match="verify-full") as caught:
            whoami(db)
        assert "allow_insecure_token" in str(caught.value)
        assert "db.example" in str(caught.value)
        assert CANARY not in everything_shown(caught.value)


@pytest.mark.parametrize(
    ("host", "at_load", "now"),
    [
        ("db.example", {"PGSSLMODE": "verify-full"}, {}),
        ("localhost", {}, {"PGHOSTADDR": "192.0.2.1"}),
        ("localhost", {}, {"PGSERVICE": "elsewhere"}),
    ],
)
def test_what_counts_is_the_environment_that_libpq_sees(host, at_load, now, monkeypatch):
    connects_by(monkeypatch, lambda **_: pytest.fail("it travelled"))
    settings = DatabaseSettings.load(OUT | {"host": host}, environ=at_load, env_file=None)
    with DatabaseConnectionManager(settings, credential=fetched([]), min_size=0) as db:
        for name, value in now.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match="no token is sent"):
            whoami(db)


def test_kerberos_does_not_take_the_place_of_tls(monkeypatch):
    seen = {}
    connects_by(monkeypatch, lambda **given: seen.update(given) or 1 / 0)
    for credential in (fetched([]), None):
        settings = DatabaseSettings.load(OUT | {"sslmode": "verify-full", "password": "x"}, environ={}, env_file=None)
        with (
            DatabaseConnectionManager(settings, credential=credential, min_size=0) as db,
            pytest.raises(ZeroDivisionError),
        ):
            whoami(db)
        assert seen.pop("gssencmode", None) == ("disable" if credential else None)


class Tokens(RemoteCredential):
    gives_tokens = True

    def fetch(self):
        pytest.fail("it was asked")


def test_a_provider_of_tokens_is_refused_before_it_is_asked():
    settings = DatabaseSettings.load(OUT, environ={}, env_file=None)
    with pytest.raises(SettingsError, match="verify-full"):
        DatabaseConnectionManager(settings, credential=Tokens())


@pytest.mark.parametrize(
    "how", [{"sslmode": "verify-full"}, {"allow_insecure_token": True}, {"host": "127.0.0.1"}, {"host": "/no/socket"}]
)
def test_where_a_token_may_travel(how, monkeypatch):
    seen = {}

    def connect(**arguments):
        seen.update(arguments)
        raise psycopg2.OperationalError("far enough")

    connects_by(monkeypatch, connect)
    settings = DatabaseSettings.load(OUT | how, environ={}, env_file=None)
    with (
        DatabaseConnectionManager(settings, credential=fetched([]), min_size=0) as db,
        pytest.raises(exc.OperationalError, match="far enough"),
    ):
        whoami(db)
    assert seen["password"] == CANARY
    assert not {"credential", "allow_insecure_token"} & seen.keys()


def test_a_password_travels_as_before(monkeypatch):
    def connect(**_):
        raise psycopg2.OperationalError("far enough")

    connects_by(monkeypatch, connect)
    settings = DatabaseSettings.load(OUT, environ={}, env_file=None)
    with (
        DatabaseConnectionManager(settings, credential=lambda: "password", min_size=0) as db,
        pytest.raises(exc.OperationalError, match="far enough"),
    ):
        whoami(db)


def test_the_override_may_be_an_argument(monkeypatch):
    connects_by(monkeypatch, lambda **_: 1 / 0)
    settings = DatabaseSettings.load(OUT, environ={}, env_file=None)
    with (
        DatabaseConnectionManager(settings, credential=fetched([]), allow_insecure_token=True, min_size=0) as db,
        pytest.raises(ZeroDivisionError),
    ):
        whoami(db)


# ---- chosen by name


def test_a_name_is_the_settings_word(monkeypatch, tmp_path):
    file = tmp_path / "password"
    file.write_text("x")
    address = OUT | {"password_file": str(file)}
    db = DatabaseConnectionManager(address, credential="file", min_size=0)
    assert db.settings.credential == "file"
    db.close_connections()


def test_a_password_given_as_a_credential_is_not_shown():
    with pytest.raises(SettingsError, match="credential") as caught:
        DatabaseConnectionManager(OUT, credential=CANARY)
    assert CANARY not in str(caught.value)
