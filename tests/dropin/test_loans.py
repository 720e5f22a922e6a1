"""What a borrower by hand has: all that a connection of psycopg2's has, waiting and errors included."""

from __future__ import annotations

import weakref

import psycopg2
import pytest
from psycopg2 import extensions, extras, sql

from dbkit.dropin.errors import ClosedError, NoConnectionError
from dbkit.dropin.loans import LentConnection, Loans
from dbkit.pool.errors import PoolClosedError

from ..pool.helpers import Admin, Task, eventually, in_line, unique
from .common import lending, value


def test_it_does_what_a_connection_of_psycopg2_does(loans: Loans):
    lent = loans.borrow()
    assert isinstance(lent, extensions.connection)
    assert lent.closed == 0
    with lent.cursor(cursor_factory=extras.RealDictCursor) as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchall() == [{"one": 1}]
    lent.rollback()
    lent.autocommit = True
    assert lent.autocommit is True
    assert lent.get_backend_pid() == lent.info.backend_pid == lent.cursor().connection.get_backend_pid()
    assert lent.fileno() >= 0
    assert weakref.ref(lent)() is lent
    assert "lent" in repr(lent)
    loans.give_back(lent)


def test_a_block_commits_or_rolls_back_and_keeps_the_connection(loans: Loans):
    name = unique("t")
    lent = loans.borrow()
    with lent as inside:
        assert inside is lent
        lent.cursor().execute(f"CREATE TEMPORARY TABLE {name} (n integer)")
    with pytest.raises(ZeroDivisionError), lent:
        lent.cursor().execute(f"INSERT INTO {name} VALUES (1)")
        raise ZeroDivisionError
    assert value(lent, f"SELECT count(*) FROM {name}") == 0
    lent.rollback()
    value(lent, f"INSERT INTO {name} VALUES (1) RETURNING 1")
    lent.commit()
    lent.rollback()
    assert value(lent, f"SELECT count(*) FROM {name}") == 1
    loans.give_back(lent)


def test_what_is_written_in_c_takes_the_cursors_connection(loans: Loans):
    lent = loans.borrow()
    query = sql.SQL("SELECT {} AS {}").format(sql.Literal("it's"), sql.Identifier('a"b'))
    with pytest.raises(TypeError):
        query.as_string(lent)
    with lent.cursor() as cursor:
        assert query.as_string(cursor) == query.as_string(cursor.connection) == """SELECT 'it''s' AS "a""b\""""
        cursor.execute(query)
        extras.execute_values(cursor, "SELECT * FROM (VALUES %s) AS v", [(1, 2), (3, 4)])
        assert cursor.fetchall() == [(1, 2), (3, 4)]
        extras.register_uuid(conn_or_curs=cursor)
    loans.give_back(lent)


TYPES = {
    "uuid": "'7b6c8a52-93b5-4a31-8fd5-2c2f3ed2ab11'::uuid",
    "uuids": "ARRAY['7b6c8a52-93b5-4a31-8fd5-2c2f3ed2ab11'::uuid]",
    "json": """'{"a": [1, 2.5]}'::json""",
    "jsonb": """'{"a": [1, 2.5]}'::jsonb""",
    "numeric": "1.50::numeric",
    "text": "'ä€'::text",
    "array": "ARRAY[1, 2]",
    "date": "DATE '2024-02-29'",
    "timestamptz": "TIMESTAMPTZ '2024-02-29 12:00+02'",
    "interval": "INTERVAL '1 day 2 hours'",
    "range": "int4range(1, 5)",
    "inet": "'10.0.0.1'::inet",
    "point": "point(1, 2)",
    "null": "NULL",
}


def test_results_are_those_of_plain_psycopg2(shared_database: str, loans: Loans):
    query = "SELECT " + ", ".join(f"{expression} AS {name}" for name, expression in TYPES.items())
    plain = psycopg2.connect(shared_database)
    lent = loans.borrow()
    results = []
    for connection in (plain, lent):
        with connection.cursor(cursor_factory=extras.RealDictCursor) as cursor:
            cursor.execute(query)
            results.append(dict(cursor.fetchone()))
    plain.close()
    loans.give_back(lent)
    assert results[0] == results[1]
    assert [type(found) for found in results[0].values()] == [type(found) for found in results[1].values()]
    assert isinstance(results[1]["uuid"], str)


def test_what_the_application_registered_for_all_connections_holds(loans: Loans):
    class Marked(str):
        pass

    uuids = extensions.new_type((2950,), "MARKED", lambda text, cursor: Marked(text))
    before = extensions.string_types.get(2950)
    extensions.register_type(uuids)
    try:
        lent = loans.borrow()
        assert type(value(lent, f"SELECT {TYPES['uuid']}")) is Marked
        loans.give_back(lent)
    finally:
        extensions.string_types.pop(2950)
        if before is not None:
            extensions.string_types[2950] = before


def test_a_full_pool_waits(shared_database: str):
    with lending(shared_database, max_size=1) as loans:
        lent = loans.borrow()
        waiter = Task(loans.borrow)
        in_line(loans.pool, 1)
        loans.give_back(lent)
        found = waiter.outcome()
        assert type(found) is LentConnection
        loans.give_back(found)


def test_a_full_line_is_the_same_error(shared_database: str):
    with lending(shared_database, max_size=1, max_waiting=1) as loans:
        lent = loans.borrow()
        waiter = Task(loans.borrow)
        in_line(loans.pool, 1)
        with pytest.raises(NoConnectionError, match="max_waiting"):
            loans.borrow()
        loans.give_back(lent)
        loans.give_back(waiter.outcome())


def test_a_closed_pool_lends_nothing_and_takes_back_what_is_out(shared_database: str, admin: Admin):
    name = unique("dropin")
    with lending(shared_database, min_size=2, application_name=name) as loans:
        lent = loans.borrow()
        loans.pool.close(timeout=0)
        for use in (loans.borrow, loans.warm_up):
            with pytest.raises(ClosedError, match="Connection pool is closed") as caught:
                use()
            assert isinstance(caught.value, PoolClosedError)
            assert isinstance(caught.value, RuntimeError)
        assert value(lent, "SELECT 1") == 1
        loans.give_back(lent)
        eventually(lambda: not admin.pids(name))


def test_a_failing_connect_is_the_drivers_error(shared_database: str):
    with lending(shared_database, min_size=1, database="no_such_database") as loans:
        for use in (loans.borrow, loans.warm_up):
            with pytest.raises(psycopg2.OperationalError, match="does not exist") as caught:
                use()
            assert type(caught.value) is psycopg2.OperationalError
