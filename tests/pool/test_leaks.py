"""``leak_after``: who forgot to give a connection back, and where they got it; and a timeout's words about holders."""

from __future__ import annotations

import gc
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from dbkit.events import CameBack, Leaked, Observer
from dbkit.pool.errors import PoolTimeoutError
from dbkit.runtime.threads import ThreadRuntime

from .helpers import QUIET, Admin, Borrower, Connects, engine_on, eventually, locked, pool_on, slot_of, unique
from .runtimes import Flag, Task, done, name_here, on_both, on_each_runtime

SOON = 0.02
NEVER = 3600.0


class Listener(Observer):
    """Keeps what it is told of leaks."""

    def __init__(self) -> None:
        self.leaks: list[Leaked] = []
        self.returns: list[CameBack] = []

    def leaked(self, fact: Leaked) -> None:
        self.leaks.append(fact)

    def came_back(self, fact: CameBack) -> None:
        self.returns.append(fact)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return the log of the pool."""
    with caplog.at_level(logging.INFO, "dbkit.pool"):
        yield caplog


def forgetful_report(engine: Engine) -> Any:
    """Borrow, and leave it to others to give back."""
    return engine.connect()


def messages(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno == level]


@on_each_runtime
def test_a_leak_is_reported_once_with_the_borrowers_stack(
    shared_database: str, listener: Listener, log: pytest.LogCaptureFixture
):
    with engine_on(
        shared_database, leak_after=SOON, observer=listener, pool_logging_name="orders", **QUIET | {"max_size": 2}
    ) as engine:
        connection = forgetful_report(engine)
        eventually(lambda: listener.leaks)
        [leak] = listener.leaks
        assert leak.thread == name_here()
        assert leak.seconds >= SOON
        assert re.fullmatch(r"forgetful_report \(.*test_leaks\.py:\d+\)", leak.borrowed_at[0])
        assert leak.borrowed_at[1].startswith("test_a_leak_is_reported_once_with_the_borrowers_stack (")
        [warning] = messages(log, logging.WARNING)
        assert warning.startswith("pool orders: a connection has been out for ")
        assert f"{name_here()} for " in warning
        assert "borrowed at forgetful_report (" in warning
        # A second leak is told, the first not again.
        other = forgetful_report(engine)
        eventually(lambda: len(listener.leaks) == 2)
        assert listener.returns == []
        connection.close()
        [back] = listener.returns
        assert back.seconds >= leak.seconds
        assert any("came back after" in message and "pool orders" in message for message in messages(log, logging.INFO))
        other.close()
        assert len(listener.returns) == 2
        # The next borrow of the same connection begins a new count.
        with engine.connect():
            eventually(lambda: len(listener.leaks) == 3)
        assert len(listener.returns) == 3


@on_both
def test_a_connection_that_waited_in_line_names_its_own_borrower(shared_database: str, listener: Listener):
    with engine_on(shared_database, leak_after=0.2, observer=listener, **QUIET | {"max_size": 1}) as engine:
        first = forgetful_report(engine)

        def patient() -> Any:
            return engine.connect()

        task = Task(patient, name="patient")
        eventually(lambda: engine.pool.stats().waiting)
        first.close()
        connection = task.outcome()
        eventually(lambda: any("patient" in leak.borrowed_at[0] for leak in listener.leaks))
        assert {leak.thread for leak in listener.leaks} <= {
            name_here(),
            "patient",
            f"thread {task.ident}",
            f"task {task.ident:#x}",
        }
        connection.close()


@on_both
def test_short_borrows_are_no_leaks(shared_database: str, listener: Listener, log: pytest.LogCaptureFixture):
    with engine_on(shared_database, leak_after=NEVER, observer=listener, **QUIET) as engine:
        for _ in range(50):
            with engine.connect() as connection:
                connection.scalar(text("SELECT 1"))
        with locked(engine.pool) as ledger:
            assert ledger.leaks(ledger.next_due(0.0) - 1.0) == []
    assert (listener.leaks, listener.returns) == ([], [])
    assert messages(log, logging.WARNING) == []


@on_both
def test_the_session_of_an_orm_leads_to_the_users_code(shared_database: str, listener: Listener):
    with engine_on(shared_database, leak_after=SOON, observer=listener, **QUIET) as engine:

        def load_orders(session: Session) -> None:
            session.scalar(text("SELECT 1"))

        with Session(engine) as session:
            load_orders(session)
            eventually(lambda: listener.leaks)
        assert listener.leaks[0].borrowed_at[0].startswith("load_orders (")
        assert not any("sqlalchemy" in place for place in listener.leaks[0].borrowed_at)


def test_one_found_by_the_collector_came_back(shared_database: str, listener: Listener):
    pool = pool_on(Connects(shared_database), leak_after=SOON, observer=listener, **QUIET)
    forgotten: list[Any] = [pool.connect()]
    eventually(lambda: listener.leaks)
    forgotten.clear()
    gc.collect()
    eventually(lambda: listener.returns)
    assert pool.stats().idle == 1
    pool.dispose()


@on_each_runtime
def test_one_that_comes_back_broken_came_back(shared_database: str, listener: Listener, admin: Admin):
    name = unique("broken")
    with engine_on(shared_database, name=name, leak_after=SOON, observer=listener, **QUIET) as engine:
        connection = engine.raw_connection()
        eventually(lambda: listener.leaks)
        admin.kill(*admin.pids(name))
        connection.invalidate()
        connection.close()
        assert len(listener.returns) == 1


@on_both
def test_reports_survive_recreate(shared_database: str, listener: Listener):
    with engine_on(shared_database, leak_after=SOON, observer=listener, **QUIET) as engine:
        engine.dispose()
        with engine.connect():
            eventually(lambda: listener.leaks)


# ---- the timeout error


def wait_in_vain(engine: Engine) -> str:
    with pytest.raises(PoolTimeoutError) as caught:
        engine.connect()
    return str(caught.value)


def hold(engine: Engine, release: Flag, ready: Flag) -> None:
    with engine.connect():
        ready.set()
        release.wait(60)


@on_both
@pytest.mark.parametrize("leak_after", [NEVER, None])
def test_the_timeout_error_names_where_each_holder_borrowed(shared_database: str, leak_after: float | None):
    numbers = QUIET | {"min_size": 2, "max_size": 2, "pool_timeout": 0.05}
    with engine_on(shared_database, leak_after=leak_after, **numbers) as engine:
        done(engine.pool.warm_up(10))
        release = Flag()
        tasks = []
        for number in range(2):
            ready = Flag()
            tasks.append(Task(hold, engine, release, ready, name=f"worker-{number}"))
            assert ready.wait(10)
        message = wait_in_vain(engine)
        for number in range(2):
            [line] = [line for line in message.splitlines() if f"worker-{number} for" in line]
            assert "now at " in line
            assert ("borrowed at hold (" in line) == (leak_after is not None)
        found = engine.pool.holders()
        assert all(bool(holder.borrowed_at) == (leak_after is not None) for holder in found)
        assert all(any(place.startswith("hold (") for place in holder.where) for holder in found)
        release.set()
        for task in tasks:
            task.outcome()


def test_without_leak_after_nothing_is_recorded(shared_database: str, monkeypatch: pytest.MonkeyPatch):
    alarms: list[float] = []

    def never(*_: object) -> None:
        raise AssertionError("looked at the stack")

    monkeypatch.setattr("dbkit.runtime.threads.call_site", never)
    monkeypatch.setattr(ThreadRuntime, "call_at", lambda _, when, ring: alarms.append(when))
    with engine_on(shared_database, **QUIET) as engine:
        with engine.connect() as connection:
            assert slot_of(connection.connection).holder == threading.get_ident()
    assert not alarms


@on_both
def test_the_hint_for_one_that_waits_for_itself(shared_database: str):
    numbers = QUIET | {"min_size": 2, "max_size": 2, "pool_timeout": 0.05}
    with engine_on(shared_database, **numbers) as engine:
        done(engine.pool.warm_up(10))
        other = Borrower(engine.pool, name="other")
        assert other.has_it.wait(10)
        with engine.connect():
            assert re.search("The waiting (thread|task) itself holds one of them", wait_in_vain(engine))
            assert "itself holds" not in Task(wait_in_vain, engine).outcome()
        other.give_back()


@on_both
def test_no_such_hint_where_the_pool_is_not_full_but_the_server_slow(shared_database: str):
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET | {"max_size": 2, "pool_timeout": 0.05}) as engine:
        engine.pool.resize(min_size=1)
        done(engine.pool.warm_up(10))
        with engine.connect():
            connects.gate.clear()
            message = wait_in_vain(engine)
            connects.gate.set()
        assert "1 opening" in message
        assert f"{name_here()} for" in message
        assert "itself holds" not in message


@on_both
def test_a_project_in_a_folder_named_like_a_library_is_still_the_users(tmp_path: Any, shared_database: str):
    program = tmp_path / "dbkit" / "jobs" / "nightly.py"
    program.parent.mkdir(parents=True)
    source = "def nightly(engine):\n    return engine.connect()\n"
    scope: dict[str, Any] = {}
    exec(compile(source, str(program), "exec"), scope)
    with engine_on(shared_database, leak_after=NEVER, **QUIET) as engine:
        with scope["nightly"](engine):
            [holder] = engine.pool.holders()
    assert holder.borrowed_at[0] == f"nightly ({program}:2)"
