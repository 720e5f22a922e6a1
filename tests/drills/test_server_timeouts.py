"""Drill 9: the server ends a session, or only a statement: by that is decided whether the connection is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import exc

from dbkit import DatabaseConnectionManager
from dbkit.drivers import sqlstate_of
from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Admin, Task, eventually, pid_of
from . import closing
from .conftest import MakeDrill
from .entrants import NAME, SIZE, Ours, fill, make_manager, params_of, turn
from .forms import by_form

TRIES = by_form(short=3, long=16)


@pytest.fixture
def watch(server: EmbeddedPostgres) -> Iterator[Admin]:
    """Return a superuser's connection beside the pools, with an empty table for them."""
    found = Admin(server.url())
    found.rows("CREATE TABLE accounts (id int PRIMARY KEY, amount int)")
    found.rows("INSERT INTO accounts VALUES (1, 0), (2, 0)")
    yield found
    found.rows("DROP TABLE accounts")
    found.close()


def pool(server: EmbeddedPostgres, options: str = "") -> Ours:
    more = {"options": options} if options else {}
    return Ours(make_manager(params_of(server, **more), timeout=20))


def test_idle_sessions_are_ended(server: EmbeddedPostgres, watch: Admin, drill: MakeDrill):
    record = drill(9, "the server's own limits", f"idle_session_timeout, {TRIES} times")
    ours, errors = pool(server, "-c idle_session_timeout=200"), 0
    for _ in range(TRIES):
        for handle in [ours.borrow() for _ in range(SIZE)]:
            ours.give_back(handle)  # without a statement: on a busy machine some are ended before all are open
        before = watch.pids(NAME)
        eventually(lambda before=before: not before & watch.pids(NAME))
        for _ in range(SIZE):
            try:
                turn(ours)
            except exc.DBAPIError:
                errors += 1
    record.row(ours.name, {"errors": errors})
    record.must("errors", errors, most=0)
    closing.check(ours.pool, execute=server.execute)
    ours.close()


def test_a_session_idle_in_a_transaction_is_ended(server: EmbeddedPostgres, watch: Admin, drill: MakeDrill):
    record = drill(9, "the server's own limits", "idle_in_transaction_session_timeout")
    ours = pool(server, "-c idle_in_transaction_session_timeout=100")
    with ours.db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        pid = pid_of(connection)
        eventually(lambda: pid not in watch.pids(NAME))
        with pytest.raises(exc.DBAPIError) as caught:
            connection.exec_driver_sql("SELECT 1")
        assert caught.value.connection_invalidated
    turn(ours)  # the next one notices nothing
    record.row(ours.name, {"SQLSTATE": sqlstate_of(caught.value.orig) or "none", "connection kept": "no"})
    closing.check(ours.pool, execute=server.execute)
    ours.close()


def statement_timeout(db: DatabaseConnectionManager, watch: Admin) -> int:
    with db.engine.connect() as connection:
        pid = pid_of(connection)
        connection.exec_driver_sql("SET LOCAL statement_timeout = 50")
        connection.exec_driver_sql("SELECT pg_sleep(60)")
    return pid


def lock_timeout(db: DatabaseConnectionManager, watch: Admin) -> int:
    with db.engine.connect() as holder, db.engine.connect() as connection:
        holder.exec_driver_sql("LOCK TABLE accounts")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 50")
        connection.exec_driver_sql("SELECT * FROM accounts")
    return 0


def deadlock(db: DatabaseConnectionManager, watch: Admin) -> int:
    with db.engine.connect() as one, db.engine.connect() as two:
        for connection in (one, two):  # the second one looks for deadlocks first
            connection.exec_driver_sql(f"SET LOCAL deadlock_timeout = '{10 if connection is two else 60000}ms'")
        one.exec_driver_sql("UPDATE accounts SET amount = 1 WHERE id = 1")
        two.exec_driver_sql("UPDATE accounts SET amount = 2 WHERE id = 2")
        pid = pid_of(one)
        waits = Task(one.exec_driver_sql, "UPDATE accounts SET amount = 1 WHERE id = 2")
        asked = f"SELECT 1 FROM pg_locks WHERE pid = {pid} AND NOT granted"
        eventually(lambda: watch.rows(asked))
        try:
            two.exec_driver_sql("UPDATE accounts SET amount = 2 WHERE id = 1")
        finally:
            two.rollback()
            waits.outcome()
    return 0


def serialization_failure(db: DatabaseConnectionManager, watch: Admin) -> int:
    serializable = db.engine.execution_options(isolation_level="REPEATABLE READ")
    with serializable.connect() as one:
        one.exec_driver_sql("SELECT * FROM accounts")
        watch.rows("UPDATE accounts SET amount = amount + 1 WHERE id = 1")
        one.exec_driver_sql("UPDATE accounts SET amount = 5 WHERE id = 1")
    return 0


LIMITS: dict[str, Callable[[DatabaseConnectionManager, Admin], int]] = {
    "57014": statement_timeout, "55P03": lock_timeout, "40P01": deadlock, "40001": serialization_failure,
}  # fmt: skip


@pytest.mark.parametrize("code", LIMITS)
def test_only_a_statement_is_ended(server: EmbeddedPostgres, watch: Admin, drill: MakeDrill, code: str):
    record = drill(9, "the server's own limits", f"{code}, {LIMITS[code].__name__.replace('_', ' ')}")
    ours = pool(server)
    fill(ours)
    before = watch.pids(NAME)
    with pytest.raises(exc.DBAPIError) as caught:
        LIMITS[code](ours.db, watch)
    assert sqlstate_of(caught.value.orig) == code
    assert not caught.value.connection_invalidated
    turn(ours)
    assert watch.pids(NAME) == before
    record.row(ours.name, {"connections lost": SIZE - len(watch.pids(NAME) & before), "connection kept": "yes"})
    assert ours.pool.stats().closes == {}
    closing.check(ours.pool, execute=server.execute)
    ours.close()
