"""What each driver for event loops does with a session: what a borrower changed is seen, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.util import await_only

from dbkit.drivers.base import Driver

from ..drivers.changing import check_taken_back
from .helpers import execute


def test_a_session_is_discarded_outside_of_transactions(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        execute(connection, "SET SESSION work_mem TO '7MB'")
        execute(connection, "CREATE TEMPORARY TABLE mine (id integer)")
        execute(connection, "SELECT pg_advisory_lock(4711)")
        assert not made.discard_session(connection) or made.is_clean(connection)
        connection.commit()
        assert made.discard_session(connection)
        assert execute(connection, "SELECT current_setting('work_mem')") != "7MB"
        assert execute(connection, "SELECT to_regclass('mine')") is None
        assert execute(connection, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711") == 0
        connection.rollback()
        made.terminate(connection)
        assert not made.discard_session(connection)

    on_a_connection(body)


def test_a_writer_is_told_from_a_reader(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        assert made.is_writer(connection)
        assert made.is_clean(connection)
        execute(connection, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
        assert not made.is_writer(connection)

    on_a_connection(body)


CHANGES: dict[str, dict[str, Any]] = {
    "psycopg": {
        "row_factory": dict_row,
        "cursor_factory": psycopg.AsyncClientCursor,
        "server_cursor_factory": type("Own", (psycopg.AsyncServerCursor,), {}),
        "prepare_threshold": 0,
        "prepared_max": 7,
    },
    "asyncpg": {"readonly": True, "deferrable": True, "isolation_level": "serializable"},
}
MODES = {
    "autocommit": True,
    "isolation_level": psycopg.IsolationLevel.SERIALIZABLE,
    "read_only": True,
    "deferrable": True,
}


def changes_of(driver: str) -> dict[str, Callable[[Any], None]]:
    def setting(name: str, value: Any) -> Callable[[Any], None]:
        def change(connection: Any) -> None:
            setattr(connection.driver_connection if driver == "psycopg" else connection, name, value)

        return change

    def encoding(connection: Any) -> None:
        execute(connection, "SET client_encoding TO 'LATIN1'")
        connection.commit()

    found = {name: setting(name, value) for name, value in CHANGES[driver].items()} | {"encoding": encoding}
    if driver == "psycopg":
        found |= {
            name: lambda connection, name=name, value=value: await_only(
                getattr(connection.driver_connection, f"set_{name}")(value)
            )
            for name, value in MODES.items()
        }
        found["adapters"] = lambda connection: connection.driver_connection.adapters.register_loader(
            "int4", psycopg.types.string.TextLoader
        )
    return found


@pytest.mark.parametrize(("driver", "name"), [(one, name) for one in CHANGES for name in changes_of(one)])
def test_a_change_is_seen_and_taken_back(on_a_connection, made: Driver, driver: str, name: str):
    on_a_connection(lambda connection: check_taken_back(made, connection, changes_of(driver)[name]))


@pytest.mark.parametrize("driver", ["psycopg"])
def test_cursors_that_were_left_open_are_closed(on_a_connection, made: Driver, driver: str):
    def body(connection: Any) -> None:
        before, raw = made.state(connection), connection.driver_connection
        kept = [raw.cursor()]
        assert not made.is_untouched(connection, before)
        kept.append(raw.cursor("named"))
        await_only(kept[1].execute("SELECT generate_series(1, 10)"))
        assert not made.is_untouched(connection, before)
        assert made.close_cursors(connection)
        assert all(cursor.closed for cursor in kept)
        assert made.is_untouched(connection, before)
        kept = [raw.cursor("lost")]
        await_only(kept[0].execute("SELECT generate_series(1, 10)"))
        raw.pgconn.finish()
        assert not made.close_cursors(connection)
        kept[0]._closed = True  # psycopg would say that nobody closed it

    on_a_connection(body)


def test_rows_are_copied_and_an_error_among_them_is_its_callers(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        execute(connection, "CREATE TEMPORARY TABLE copied (id integer UNIQUE, name text)")
        connection.commit()
        into = "COPY copied (id, name) FROM STDIN"
        assert made.copy_rows(connection, into, [(1, "a"), (2, None)]) == 2
        connection.commit()

        def failing() -> Iterator[tuple[int, str]]:
            yield 3, "b"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            made.copy_rows(connection, into, failing())
        connection.rollback()
        with pytest.raises(Exception, match="duplicate key"):
            made.copy_rows(connection, into, [(1, "again")])
        connection.rollback()
        assert execute(connection, "SELECT count(*) FROM copied") == 2
        connection.rollback()
        before = made.state(connection)
        assert made.is_untouched(connection, before)  # no cursor is left open

    on_a_connection(body)
