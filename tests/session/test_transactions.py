"""``run_in_transaction``: the whole function again after a conflict, once and for all if its outcome is unknown."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import exc, text

from dbkit import CommitOutcomeUnknown, DbkitError, DeadlineExceeded

CONFLICT = "DO $$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END $$"


def insert(session, table, key=1) -> None:
    session.execute(text(f"INSERT INTO {table} VALUES (:id, 'x')"), {"id": key})


def ids(db, table):
    return db.execute_query(f"SELECT id FROM {table} ORDER BY id").scalars()


def test_what_the_function_returns_is_returned_and_committed(db, table):
    def work(session):
        insert(session, table)
        return "done"

    assert db.run_in_transaction(work) == "done"
    assert ids(db, table) == (1,)


def test_a_conflict_runs_the_whole_function_again(db, table):
    runs = []

    def work(session):
        runs.append(session)
        insert(session, table)
        if len(runs) < 3:
            session.execute(text(CONFLICT))

    db.run_in_transaction(work)
    assert len(set(runs)) == 3  # a session for each
    assert ids(db, table) == (1,)
    assert db.stats().in_use == 0


def test_retries_end(db):
    runs = []

    def work(session):
        runs.append(session)
        session.execute(text(CONFLICT))

    with pytest.raises(exc.OperationalError, match="try again") as caught:
        db.run_in_transaction(work, retries=2)
    assert len(runs) == 3
    assert "after 3 attempts" in caught.value.__notes__[-1]


@pytest.mark.parametrize("statement", ["SELECT 1/0", "SELECT nothing"])
def test_other_errors_are_passed_on_at_once(db, statement):
    runs = []

    def work(session):
        runs.append(session)
        session.execute(text(statement))

    with pytest.raises(exc.DBAPIError):
        db.run_in_transaction(work)
    assert len(runs) == 1


def test_a_connection_lost_before_commit_runs_it_again(db, table, admin):
    pids = []

    def work(session):
        pids.append(session.scalar(text("SELECT pg_backend_pid()")))
        insert(session, table)
        if len(pids) == 1:
            admin.kill(*pids)
        session.execute(text("SELECT 1"))

    db.run_in_transaction(work)
    assert len(pids) == 2
    assert ids(db, table) == (1,)


def lose_the_connection_at_commit(admin, runs, table):
    def work(session):
        runs.append(session.scalar(text("SELECT pg_backend_pid()")))
        insert(session, table)
        if len(runs) == 1:
            admin.kill(*runs)
        return len(runs)

    return work


def test_an_unknown_outcome_is_told_and_never_repeated(db, table, admin):
    runs: list[int] = []
    with pytest.raises(CommitOutcomeUnknown, match="nobody knows") as caught:
        db.run_in_transaction(lose_the_connection_at_commit(admin, runs, table))
    assert len(runs) == 1
    assert isinstance(caught.value, exc.OperationalError)
    assert isinstance(caught.value, DbkitError)
    assert isinstance(caught.value.orig, caught.value.__cause__.orig.__class__)
    assert caught.value.connection_invalidated
    again = pickle.loads(pickle.dumps(CommitOutcomeUnknown("COMMIT", None, ValueError("gone"))))
    assert str(again) == str(CommitOutcomeUnknown("COMMIT", None, ValueError("gone")))
    assert db.stats().in_use == 0


@pytest.mark.parametrize("committed", [True, False])
def test_a_check_decides_whether_it_is_repeated(db, table, admin, committed):
    runs: list[int] = []
    work = lose_the_connection_at_commit(admin, runs, table)
    found = db.run_in_transaction(
        work, is_committed=lambda session: bool(session.scalar(text("SELECT 1"))) is committed
    )
    assert found == len(runs) == (1 if committed else 2)
    assert ids(db, table) == (() if committed else (1,))


def test_a_function_that_commits_in_between_is_not_run_again(db, table):
    runs = []

    def work(session):
        runs.append(session)
        insert(session, table, len(runs))
        session.commit()
        session.execute(text(CONFLICT))

    with pytest.raises(exc.OperationalError):
        db.run_in_transaction(work)
    assert ids(db, table) == (1,)


def test_savepoints_do_not_count_as_commits(db, table):
    runs = []

    def work(session):
        runs.append(session)
        with session.begin_nested():
            insert(session, table)
        if len(runs) == 1:
            session.execute(text(CONFLICT))

    db.run_in_transaction(work)
    assert len(runs) == 2


def test_the_timeout_holds_for_all_attempts_together(db):
    with pytest.raises(DeadlineExceeded) as caught:
        db.run_in_transaction(lambda session: session.execute(text(CONFLICT)), retries=10**9, timeout=0.5)
    assert caught.value.seconds == 0.5
    with pytest.raises(DeadlineExceeded):
        db.run_in_transaction(lambda session: session.execute(text("SELECT pg_sleep(100)")), timeout=0.5)


def test_level_and_read_only_hold(db, table):
    level = text("SHOW transaction_isolation")
    assert db.run_in_transaction(lambda s: s.scalar(level), isolation_level="SERIALIZABLE") == "serializable"
    with pytest.raises(exc.DBAPIError, match="read-only"):
        db.run_in_transaction(lambda session: insert(session, table), read_only=True)


@pytest.mark.parametrize(
    "asked", [{"retries": -1}, {"retries": 1.5}, {"timeout": 0}, {"isolation_level": "x"}], ids=str
)
def test_bad_arguments_are_refused_before_anything_happens(db, asked):
    with pytest.raises(exc.ArgumentError):
        db.run_in_transaction(lambda session: pytest.fail("it ran"), **asked)


def test_a_decorated_function_is_a_transaction_at_each_call(db, table):
    @db.transactional(isolation_level="SERIALIZABLE")
    def add(session, key: int, *, twice: bool = False) -> str:
        """Add a key."""
        insert(session, table, key)
        if twice:
            insert(session, table, -key)
        return session.scalar(text("SHOW transaction_isolation"))

    assert add(1) == "serializable"
    add(2, twice=True)
    assert (add.__name__, add.__doc__) == ("add", "Add a key.")
    assert ids(db, table) == (-2, 1, 2)


def test_money_is_conserved_under_sixteen_threads(managers, driver, database):
    accounts, threads, transfers, start = 8, 16, 3, 100
    db = managers(driver, url=database, max_size=8)
    db.execute_query("CREATE TABLE account (id int PRIMARY KEY, balance int)")
    db.execute_query("CREATE TABLE transfer (key text PRIMARY KEY)")
    db.execute_query(f"INSERT INTO account SELECT n, {start} FROM generate_series(0, {accounts - 1}) n")
    runs = [0] * threads
    together = threading.Barrier(threads)

    def work(me: int) -> None:
        together.wait(60)
        for number in range(transfers):
            source, target = (me + number) % accounts, (me + 3 * number + 1) % accounts

            def transfer(session, key=f"{me}-{number}", source=source, target=target):
                runs[me] += 1
                balance = text("SELECT balance FROM account WHERE id = :id")
                has, gets = (session.scalar(balance, {"id": account}) for account in (source, target))
                change = text("UPDATE account SET balance = :balance WHERE id = :id")
                if source != target:
                    session.execute(change, {"id": source, "balance": has - 1})
                    session.execute(change, {"id": target, "balance": gets + 1})
                session.execute(text("INSERT INTO transfer VALUES (:key)"), {"key": key})

            db.run_in_transaction(transfer, isolation_level="SERIALIZABLE", retries=50)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))  # 0 failed units
    assert db.execute_query("SELECT sum(balance) FROM account").scalar() == accounts * start
    assert db.execute_query("SELECT count(*) FROM transfer").scalar() == threads * transfers
    assert sum(runs) > threads * transfers  # they did collide
