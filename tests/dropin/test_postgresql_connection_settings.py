"""The settings of ``PostgresqlConnection``: what is required, the defaults, and who may not connect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import exc

from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.postgresql_connection import PostgresqlConnection
from dbkit.errors import SettingsError

from ..pool.helpers import Admin, eventually
from .blocks import in_use
from .common import address_of, address_with_limit, value


@pytest.mark.parametrize("given", [(), ("host",), ("user",), ("dbname", "host")])
def test_what_is_required_and_missing_is_named(
    environment: Callable[..., str], address: dict[str, Any], given: tuple[str, ...]
):
    environment({key: value for key, value in address.items() if key in given})
    with pytest.raises(SettingsError) as caught:
        PostgresqlConnection()
    required = {"DB_HOST": "host", "DB_USER": "user", "DB_NAME": "dbname"}
    assert [fault.key for fault in caught.value.faults] == [
        variable for variable, key in required.items() if key not in given
    ]
    assert "DB_PASSWORD" not in str(caught.value)
    assert not module._pool.is_open()


def test_a_url_in_the_environment_is_none_of_its_settings(
    environment: Callable[..., str], address: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere.invalid/other")
    environment({})
    with pytest.raises(SettingsError, match="DB_HOST"):
        PostgresqlConnection()
    environment(address)
    with PostgresqlConnection() as connection:
        assert value(connection, "SELECT 1") == 1


def test_the_defaults_are_the_documents(environment: Callable[..., str]):
    environment({"host": "example.com", "user": "me", "name": "mine"})
    settings = module._load()
    assert (settings.port, settings.policy.min_size, settings.policy.max_size) == (5432, 1, 20)
    assert settings.password is None
    environment({}, port=6543, min_conn=0, max_conn=3)
    settings = module._load()
    assert (settings.port, settings.policy.min_size, settings.policy.max_size) == (6543, 0, 3)


def test_the_settings_may_stand_in_a_file(users_database: str, tmp_path: Path):
    address = address_of(users_database)
    names = {"dbname": "name"}
    (tmp_path / ".env").write_text("".join(f"DB_{names.get(k, k).upper()}={v}\n" for k, v in address.items()))
    with PostgresqlConnection() as conn:
        assert value(conn, "SELECT current_database()") == address["dbname"]


def test_a_refused_connect_later_is_the_drivers_error_too(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    with address_with_limit(admin, address, 1) as limited:
        name = environment(limited, reconnect_timeout=0)
        db = PostgresqlConnection()
        with db, pytest.raises(psycopg2.OperationalError, match="too many connections for role") as caught:
            db.__enter__()
        assert not isinstance(caught.value, exc.SQLAlchemyError)
        assert in_use() == 0
        PostgresqlConnection.close_all()
        eventually(lambda: not admin.pids(name))
