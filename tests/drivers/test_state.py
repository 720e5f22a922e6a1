"""How a connection behaves on the client's side: each change a borrower may make is seen, and taken back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import psycopg2
import psycopg2.extensions
import pytest
from psycopg.rows import dict_row

from dbkit.drivers import for_connection

from .changing import check_taken_back

COMMON: dict[str, Any] = {"autocommit": True, "isolation_level": 3, "deferrable": True}
CHANGES: dict[str, dict[str, Any]] = {
    "psycopg2": {**COMMON, "readonly": True, "cursor_factory": psycopg2.extensions.cursor},
    "psycopg": {
        **COMMON,
        "read_only": True,
        "cursor_factory": psycopg.ClientCursor,
        "server_cursor_factory": type("Own", (psycopg.ServerCursor,), {}),
        "row_factory": dict_row,
        "prepare_threshold": 0,
        "prepared_max": 7,
    },
}


def setting(name: str, value: Any) -> Callable[[Any], None]:
    return lambda connection: setattr(connection, name, value)


def register_a_caster(connection: Any) -> None:
    psycopg2.extensions.register_type(psycopg2.extensions.UNICODEARRAY, connection)


def register_a_loader(connection: Any) -> None:
    connection.adapters.register_loader("int4", psycopg.types.string.TextLoader)


def encode_by_sql(connection: Any) -> None:
    execute(connection, "SET client_encoding TO 'LATIN1'")


def execute(connection: Any, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.commit()


CASES = [
    pytest.param(driver, setting(name, value), id=f"{driver}-{name}")
    for driver, changes in CHANGES.items()
    for name, value in changes.items()
] + [
    pytest.param("psycopg2", register_a_caster, id="psycopg2-caster"),
    pytest.param("psycopg", register_a_loader, id="psycopg-loader"),
    pytest.param("psycopg2", lambda connection: connection.set_client_encoding("LATIN1"), id="psycopg2-encoding"),
    pytest.param("psycopg2", encode_by_sql, id="psycopg2-encoding-by-sql"),
    pytest.param("psycopg", encode_by_sql, id="psycopg-encoding-by-sql"),
]


@pytest.fixture
def connect(shared_database: str) -> Iterator[Callable[[str], Any]]:
    made: list[Any] = []

    def connect(driver: str) -> Any:
        made.append(importlib.import_module(driver).connect(shared_database))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


@pytest.mark.parametrize(("name", "change"), CASES)
def test_a_change_is_seen_and_taken_back(connect: Callable[[str], Any], name: str, change: Callable[[Any], None]):
    connection = connect(name)
    check_taken_back(for_connection(connection), connection, change)


@pytest.mark.parametrize("name", CHANGES)
def test_all_changes_together_are_taken_back(connect: Callable[[str], Any], name: str):
    connection = connect(name)
    driver = for_connection(connection)
    before = driver.state(connection)
    for attribute, value in reversed(CHANGES[name].items()):
        setattr(connection, attribute, value)
    driver.set_state(connection, before)
    assert driver.state(connection) == before


@pytest.mark.parametrize("name", CHANGES)
def test_a_cursor_that_was_closed_is_no_change(name: str, shared_database: str):
    driver = for_connection(importlib.import_module(name).Error())
    connection = driver.connect(
        **{"psycopg2": {"dsn": shared_database}, "psycopg": {"conninfo": shared_database}}[name]
    )
    try:
        before, kept = driver.state(connection), connection.cursor()
        assert not driver.is_untouched(connection, before)
        kept.close()
        assert driver.is_untouched(connection, before)
    finally:
        connection.close()


def test_what_psycopg2_goes_by_since_it_connected_survives_a_discard(shared_database: str):
    connection = psycopg2.connect(shared_database, options="-c DateStyle=German")
    try:
        execute(connection, "LISTEN news")
        execute(connection, "NOTIFY news")
        assert connection.notifies
        assert for_connection(connection).discard_session(connection)
        assert connection.notifies == []
        assert connection.get_parameter_status("DateStyle").startswith("ISO")
    finally:
        connection.close()
