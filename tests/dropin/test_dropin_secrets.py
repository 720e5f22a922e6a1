"""A password shows nowhere: not in errors, the log or what the classes keep, whatever is wrong with the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from sqlalchemy import exc

from dbkit.dropin import (
    DatabaseConnectionPool,
    DatabasePool,
    PostgresqlConnection,
    database_connection_pool,
    database_pool,
    postgresql_connection,
)
from dbkit.errors import SettingsError

from ..shown import everything_shown
from .common import CANARY


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)


def test_the_environments_password_shows_nowhere(
    environment: Callable[..., str], address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    environment({**address, "password": CANARY})
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed") as caught:
        DatabaseConnectionPool.initialize_pool(1, 2)
    assert CANARY not in everything_shown(caught.value).replace(repr(address), "")
    monkeypatch.setenv("DB_PORT", "many")
    with pytest.raises(SettingsError) as wrong:
        DatabaseConnectionPool.initialize_pool(1, 2)
    assert CANARY not in everything_shown(wrong.value)
    assert CANARY not in caplog.text
    assert CANARY not in repr(vars(database_connection_pool._pool))


def test_a_refused_login_is_told_when_the_object_is_made(
    environment: Callable[..., str], address: dict[str, Any], caplog: Any
):
    environment({**address, "password": CANARY})
    for attempt in (PostgresqlConnection, object.__new__(PostgresqlConnection).__enter__):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed") as caught:
            attempt()
        assert not isinstance(caught.value, exc.SQLAlchemyError)
        assert CANARY not in everything_shown(caught.value).replace(repr(address), "")
        assert not postgresql_connection._pool.is_open()
    assert CANARY not in caplog.text
    environment(address)
    with PostgresqlConnection() as conn:
        assert CANARY not in repr(PostgresqlConnection()) + repr(conn)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"port": "many"},
        {"dbname": "no_such_database"},
        {"host": "no.such.host.invalid"},
        {"min_connections": 3, "max_connections": 2},
        {"host": "/no/such/folder"},
        {"password": 17},
    ],
    ids=str,
)
def test_the_arguments_password_shows_nowhere(address: dict[str, Any], wrong: dict[str, Any], caplog: Any):
    arguments = {**address, "password": CANARY, **wrong}
    given = lambda: DatabasePool.initialize(**arguments)  # noqa: E731 - the one frame that may show it is cut off below
    with pytest.raises((psycopg2.OperationalError, SettingsError)) as caught:
        given()
    error = caught.value
    assert error.__traceback__ is not None
    below = error.__traceback__.tb_next  # the test's own frames, which hold the arguments
    assert below is not None
    shown = everything_shown(error.with_traceback(below.tb_next))
    assert "in initialize" in shown
    assert CANARY not in shown
    assert CANARY not in caplog.text
    assert CANARY not in repr(vars(database_pool._pool))


def test_the_password_shows_nowhere_while_it_works(address: dict[str, Any], caplog: Any):
    DatabasePool.initialize(**address)
    conn = DatabasePool.get_connection()
    shown = [
        repr(conn),
        str(conn),
        repr(vars(database_pool._pool)),
        repr(database_pool._pool._open),
        conn.dsn,
        caplog.text,
    ]
    assert address["password"] not in "\n".join(shown)
    DatabasePool.return_connection(conn)
