"""A block of ``PostgresqlConnection`` is a transaction on a connection of its own."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2.errors import InFailedSqlTransaction
from sqlalchemy import exc

from dbkit.dropin.postgresql_connection import PostgresqlConnection

from ..pool.helpers import Admin
from .blocks import in_use, say, words


def test_a_block_is_committed(db: PostgresqlConnection, admin: Admin, table: str):
    with db as conn:
        assert isinstance(conn, psycopg2.extensions.connection)
        say(conn, table, "kept")
        assert words(admin, table) == []
    assert words(admin, table) == ["kept"]
    assert in_use() == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_a_block_that_raises_is_rolled_back(
    db: PostgresqlConnection, admin: Admin, table: str, error: type[BaseException]
):
    raised = error("mine")
    with pytest.raises(error) as caught, db as conn:
        say(conn, table, "lost")
        raise raised
    assert caught.value is raised
    assert words(admin, table) == []
    assert in_use() == 0


def test_the_drivers_errors_pass_unchanged(db: PostgresqlConnection, table: str):
    with pytest.raises(psycopg2.errors.UndefinedColumn) as caught, db as conn, conn.cursor() as cursor:
        cursor.execute(f"SELECT nothing FROM {table}")
    assert caught.value.__context__ is None
    assert in_use() == 0


def test_a_commit_that_fails_is_told_and_the_connection_goes_back(db: PostgresqlConnection, admin: Admin):
    with pytest.raises(psycopg2.IntegrityError), db as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE late (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP")
        cursor.execute("INSERT INTO late VALUES (1), (1)")
    assert in_use() == 0
    with db as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_an_error_handled_inside_that_made_the_commit_impossible_is_told(db: PostgresqlConnection):
    with pytest.raises(InFailedSqlTransaction, match="Nothing was committed") as caught, db as conn:
        with pytest.raises(psycopg2.errors.SyntaxError), conn.cursor() as cursor:
            cursor.execute("nonsense")
    assert not isinstance(caught.value, exc.SQLAlchemyError)
    assert in_use() == 0


def test_a_connection_lost_in_its_block_is_replaced(db: PostgresqlConnection, admin: Admin):
    with pytest.raises(psycopg2.Error), db as conn, conn.cursor() as cursor:
        pid = conn.get_backend_pid()
        admin.kill(pid)
        cursor.execute("SELECT 1")
    with db as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert conn.get_backend_pid() != pid


def test_nested_blocks_have_connections_of_their_own(db: PostgresqlConnection, admin: Admin, table: str):
    with db as outer, db as inner:
        assert outer is not inner
        say(outer, table, "outer")
        with pytest.raises(ValueError), db as innermost:
            say(innermost, table, "innermost")
            raise ValueError
        say(inner, table, "inner")
        assert in_use() == 2
    assert words(admin, table) == ["inner", "outer"]
    assert in_use() == 0
