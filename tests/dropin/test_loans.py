"""Connections lent by hand: what a borrower has, what he may do with it, and what is refused."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions, extras, sql
from psycopg2.pool import PoolError
from sqlalchemy import exc

from dbkit import DatabaseSettings
from dbkit.dropin.errors import ClosedError, DropinError, NoConnectionError, NotLentError
from dbkit.dropin.loans import LentConnection, Loans
from dbkit.dropin.plain import lend_from, plain_manager
from dbkit.errors import PoolClosedError, PoolTimeoutError

from ..pool.helpers import Admin, Task, eventually, in_line, unique


@contextmanager
def lending(url: str, label: str = "a pool", **numbers: Any) -> Iterator[Loans]:
    numbers = {"min_size": 0, "max_size": 2, "timeout": 10, **numbers}
    manager = plain_manager(DatabaseSettings.load(url, env_file=None, **numbers))
    try:
        yield lend_from(manager, label)
    finally:
        manager.close_connections(timeout=0)


@pytest.fixture
def loans(shared_database: str) -> Iterator[Loans]:
    with lending(shared_database) as made:
        yield made
        eventually(lambda: made.pool.stats().in_use == 0)  # whatever is refused, nothing is lost


def value(connection: Any, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


# ---- what a borrower has


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


# ---- what happens at its return


CHANGES = {
    "autocommit": True,
    "isolation_level": extensions.ISOLATION_LEVEL_SERIALIZABLE,
    "readonly": True,
    "deferrable": True,
    "cursor_factory": extras.RealDictCursor,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_borrower_changed_is_undone(loans: Loans, name: str):
    lent = loans.borrow()
    pid, before = lent.get_backend_pid(), getattr(lent, name)
    setattr(lent, name, CHANGES[name])
    assert getattr(lent, name) == CHANGES[name] != before
    value(lent, "SELECT 1") if name != "cursor_factory" else None
    loans.give_back(lent)
    again = loans.borrow()
    assert again.get_backend_pid() == pid
    assert getattr(again, name) == before
    loans.give_back(again)


def test_what_was_not_committed_is_rolled_back(loans: Loans):
    name = unique("t")
    lent = loans.borrow()
    lent.cursor().execute(f"CREATE TABLE {name} (n integer)")
    loans.give_back(lent)
    again = loans.borrow()
    assert value(again, f"SELECT to_regclass('{name}')") is None
    loans.give_back(again)


def test_a_transaction_begun_by_hand_in_autocommit_is_rolled_back_too(loans: Loans):
    name = unique("t")
    lent = loans.borrow()
    lent.autocommit = True
    lent.cursor().execute(f"BEGIN; CREATE TABLE {name} (n integer)")
    loans.give_back(lent)
    again = loans.borrow()
    assert again.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
    assert value(again, f"SELECT to_regclass('{name}')") is None
    loans.give_back(again)


@pytest.mark.parametrize("loss", ["closed by the borrower", "ended by the server"])
def test_a_lost_connection_is_replaced(loans: Loans, admin: Admin, loss: str):
    lent = loans.borrow()
    pid = lent.get_backend_pid()
    if loss == "closed by the borrower":
        lent.close()
    else:
        admin.kill(pid)
        with pytest.raises(psycopg2.OperationalError):
            value(lent, "SELECT 1")
    loans.give_back(lent)
    again = loans.borrow()
    assert again.get_backend_pid() != pid
    assert value(again, "SELECT 1") == 1
    loans.give_back(again)
    assert loans.pool.stats().size == 1


@pytest.mark.parametrize("failing", ["says no", "raises"])
def test_a_connection_that_cannot_be_tidied_is_replaced(loans: Loans, failing: str):
    def tidy(connection: Any, noted: object) -> bool:
        if failing == "raises":
            raise ZeroDivisionError
        return False

    untidy = Loans(loans.pool, "untidy", tidy=tidy)
    lent = untidy.borrow()
    pid = lent.get_backend_pid()
    if failing == "raises":
        with pytest.raises(ZeroDivisionError):
            untidy.give_back(lent)
    else:
        untidy.give_back(lent)
    again = loans.borrow()
    assert again.get_backend_pid() != pid
    loans.give_back(again)


def test_a_connection_that_cannot_be_noted_goes_back(loans: Loans):
    def note(connection: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        Loans(loans.pool, "unnoted", note=note).borrow()
    assert loans.pool.stats().in_use == 0
    assert caught.value.__traceback__ is not None  # keeps the frames alive, so that no finalizer helps


# ---- what is refused, and harms nothing


def test_a_second_return_is_refused_and_the_next_borrower_keeps_his(shared_database: str):
    with lending(shared_database, max_size=1) as loans:
        first = loans.borrow()
        loans.give_back(first)
        second = loans.borrow()  # the very same connection of the driver's
        second.cursor().execute("CREATE TEMPORARY TABLE mine (n integer)")
        with pytest.raises(NotLentError, match="given back already"):
            loans.give_back(first)
        assert loans.pool.stats().in_use == 1
        assert value(second, "SELECT count(*) FROM mine") == 0  # no rollback struck it
        loans.give_back(second)


def test_the_wrong_pool_refuses_it_and_says_whose_it_is(shared_database: str):
    with lending(shared_database, "the one") as one, lending(shared_database, "the other") as other:
        lent = one.borrow()
        with pytest.raises(NotLentError, match=r"not the other's but the one's: it stays lent"):
            other.give_back(lent)
        assert value(lent, "SELECT 1") == 1
        one.give_back(lent)
        with pytest.raises(NotLentError, match="not the other's"):
            other.give_back(lent)


def test_whatever_else_is_refused(shared_database: str, loans: Loans):
    lent = loans.borrow()
    raw = lent.cursor().connection
    stranger = psycopg2.connect(shared_database)
    for wrong in (None, object(), "connection", raw, stranger, loans):
        with pytest.raises(NotLentError, match="never lent this") as caught:
            loans.give_back(wrong)
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, PoolError)
    assert value(lent, "SELECT 1") == value(stranger, "SELECT 1") == 1
    stranger.close()
    loans.give_back(lent)


def test_after_its_return_it_can_do_nothing(loans: Loans):
    lent = loans.borrow()
    pid = lent.get_backend_pid()
    loans.give_back(lent)
    holder = loans.borrow()
    assert holder.get_backend_pid() == pid
    for use in (
        lambda: lent.cursor(),
        lambda: lent.commit(),
        lambda: lent.autocommit,
        lambda: setattr(lent, "autocommit", True),
        lambda: lent.__enter__(),
    ):
        with pytest.raises(psycopg2.InterfaceError, match="given back"):
            use()
    assert lent.closed
    lent.close()  # as on any closed connection
    assert not holder.closed
    assert holder.autocommit is False
    assert not isinstance(lent, extensions.connection)
    assert "no longer lent" in repr(lent)
    loans.give_back(holder)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_cannot_be_doubled(loans: Loans, duplicate: Any):
    lent = loans.borrow()
    with pytest.raises(TypeError, match="copied"):
        duplicate(lent)
    loans.give_back(lent)


# ---- waiting, and not being served


def test_a_full_pool_waits(shared_database: str):
    with lending(shared_database, max_size=1) as loans:
        lent = loans.borrow()
        waiter = Task(loans.borrow)
        in_line(loans.pool, 1)
        loans.give_back(lent)
        found = waiter.outcome()
        assert type(found) is LentConnection
        loans.give_back(found)


def borrow_and_forget(loans: Loans) -> LentConnection:
    return loans.borrow()


def test_the_error_after_waiting_names_the_holders(shared_database: str):
    with lending(shared_database, max_size=1, leak_after=60) as loans:
        lent = borrow_and_forget(loans)
        with pytest.raises(NoConnectionError, match="No connections available") as caught:
            loans.borrow(timeout=0.01)
        message = str(caught.value)
        assert threading.current_thread().name in message
        assert f"borrowed at borrow_and_forget ({__file__}:" in message  # the user's code, not dbkit's
        for kind in (DropinError, PoolTimeoutError, exc.TimeoutError, RuntimeError, PoolError, psycopg2.Error):
            assert isinstance(caught.value, kind)
        loans.give_back(lent)


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


# ---- many threads


def test_many_threads_are_all_served_and_nothing_is_lost(shared_database: str):
    with lending(shared_database, max_size=5, timeout=30) as loans:
        counter = itertools.count()
        out: set[int] = set()

        def work() -> None:
            for _ in range(50):
                lent = loans.borrow()
                pid = lent.get_backend_pid()
                assert pid not in out, "two borrowers have the same connection"
                out.add(pid)
                lent.cursor().execute("SELECT 1")
                out.remove(pid)
                loans.give_back(lent)
                next(counter)

        for task in [Task(work) for _ in range(32)]:
            task.outcome(60)
        stats = loans.pool.stats()
        assert next(counter) == 32 * 50
        assert (stats.in_use, stats.waiting) == (0, 0)
        assert stats.size <= 5


def test_one_of_many_threads_gives_it_back(loans: Loans):
    """Eight threads give back the same connection at once: one succeeds, and the connection is in the pool once."""
    for _ in range(20):
        lent = loans.borrow()
        start = threading.Barrier(8)

        def give_back(lent: LentConnection = lent, start: threading.Barrier = start) -> bool:
            start.wait(10)
            try:
                loans.give_back(lent)
            except NotLentError:
                return False
            return True

        assert sum(task.outcome() for task in [Task(give_back) for _ in range(8)]) == 1
        assert loans.pool.stats().idle == loans.pool.stats().size == 1
