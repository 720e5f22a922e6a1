"""Passwordless, from the environment to the server: the real azure-identity, and a role whose password is its token."""

from __future__ import annotations

import time

import pytest

from dbkit import DatabaseConnectionManager, SettingsError
from dbkit.dropin import PostgresqlConnection

from ..pool.helpers import eventually
from .broker import Load
from .helpers import managed_identity


@pytest.fixture
def identity(broker, monkeypatch, tmp_path):
    """The environment of an application on App Service, whose identity may log in as the role."""

    def answer(_):
        token = broker.token().value.reveal()
        return 200, {"access_token": token, "expires_on": str(int(time.time()) + 3600), "token_type": "Bearer"}

    monkeypatch.chdir(tmp_path)
    for name, key in (("HOST", "host"), ("PORT", "port"), ("NAME", "database"), ("USER", "username")):
        monkeypatch.setenv(f"DB_{name}", str(broker.address[key]))
    with managed_identity(monkeypatch, answer, "canary-header") as endpoint:
        monkeypatch.setenv("IDENTITY_ENABLED", "True")
        yield endpoint


def test_a_manager_without_a_password(broker, identity):
    with DatabaseConnectionManager(min_size=0, max_size=4, timeout=20) as db:
        load = Load(db, threads=8)
        load.goes_on()
        for _ in range(3):
            asked = len(identity.asked)
            broker.rotate()
            db.pool.drain()
            eventually(lambda asked=asked: len(identity.asked) > asked)
            load.goes_on()
        load.stop()
        assert load.errors == []
        assert len(identity.asked) == 1 + 3
        assert db.settings.origin("credential") == "environment variable IDENTITY_ENABLED"


def test_the_older_class_without_a_password(broker, identity):
    db = PostgresqlConnection()
    try:
        with db as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (broker.role,)
            broker.rotate()
            with db as another, another.cursor() as second:
                second.execute("SELECT current_user")
                assert second.fetchone() == (broker.role,)
    finally:
        PostgresqlConnection.close_all()
    assert len(identity.asked) == 2


def test_over_a_network_it_is_refused_before_anybody_is_asked(identity, monkeypatch):
    monkeypatch.setenv("DB_HOST", "db.example")
    with pytest.raises(SettingsError, match="verify-full"):
        DatabaseConnectionManager()
    assert identity.asked == []
