"""What an ``Observer`` is told: every fact, with the right values, on a thread that may fail without harm."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, exc
from sqlalchemy.util.concurrency import in_greenlet

from dbkit import events
from dbkit.events import Closed, NotServed, Observer, Opened, OpenFailed, Waited
from dbkit.pool.errors import LineFullError, PoolClosedError, PoolTimeoutError

from .helpers import (
    QUIET,
    Admin,
    Borrower,
    Connects,
    at_rest,
    engine_on,
    eventually,
    in_line,
    operational_error,
    refused,
    unique,
    wrong_password,
)
from .runtimes import Task, done, on_both, on_each_runtime

FACTS = {
    "opened": Opened,
    "open_failed": OpenFailed,
    "closed": Closed,
    "waited": Waited,
    "not_served": NotServed,
    "leaked": events.Leaked,
    "came_back": events.CameBack,
}


class Everything(Observer):
    """Keeps all facts, with the thread on which each was told and whether the pool was locked then."""

    def __init__(self) -> None:
        self.facts: list[Any] = []
        self.threads: list[int] = []

    def keep(self, fact: Any) -> None:
        self.threads.append(threading.get_ident())
        self.facts.append(fact)

    opened = open_failed = closed = waited = not_served = leaked = came_back = keep  # type: ignore[assignment]

    def of(self, kind: type) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


@pytest.fixture
def told() -> Everything:
    return Everything()


def test_every_method_has_its_fact_and_every_fact_its_method():
    methods = {name for name in vars(Observer) if not name.startswith("_")}
    kinds = {kind for kind in vars(events).values() if dataclasses.is_dataclass(kind)}
    assert methods == set(FACTS)
    assert kinds == set(FACTS.values())


@pytest.mark.parametrize(
    "fact",
    [
        Opened(seconds=0.1),
        OpenFailed(error=refused(), transient=True, failures=1),
        Closed(why="dead"),
        Waited(seconds=0.1),
        NotServed(seconds=0.1, error=refused()),
        events.Leaked(thread="a", seconds=1.0, borrowed_at=("f (a.py:1)",)),
        events.CameBack(seconds=2.0),
    ],
)
def test_facts_are_frozen_and_an_observer_does_nothing_by_itself(fact: Any):
    for field in dataclasses.fields(fact):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fact, field.name, None)
    [name] = [name for name, kind in FACTS.items() if kind is type(fact)]
    assert getattr(Observer(), name)(fact) is None


@on_each_runtime
def test_an_opening_a_wait_and_a_close(shared_database: str, told: Everything):
    connects = Connects(shared_database)
    connects.gate.clear()
    with engine_on(shared_database, creator=connects, observer=told, **QUIET) as engine:
        began = time.monotonic()
        borrower = Borrower(engine.pool)
        eventually(lambda: connects.under_way)
        connects.gate.set()
        borrower.give_back()
        took = time.monotonic() - began
        eventually(lambda: told.of(Opened))
        [opened], [waited] = told.of(Opened), told.of(Waited)
        assert 0 < opened.seconds < took
        assert 0 < waited.seconds < took
        with engine.connect():  # an idle one is there: nobody waits
            pass
        assert len(told.facts) == 2
        engine.dispose()
        assert told.of(Closed) == [Closed(why="disposed")]


# With psycopg SQLAlchemy leaves it open on a loop (``has_terminate`` is False), until the collector comes.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@on_each_runtime
def test_each_close_tells_why_as_the_statistics_do(shared_database: str, told: Everything):
    with engine_on(shared_database, isolation_level="AUTOCOMMIT", observer=told, **QUIET | {"max_size": 1}) as engine:
        pool: Any = engine.pool
        engine.connect().invalidate()
        with engine.connect() as connection:
            connection.detach()
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # in this mode nobody rolls it back, but the pool of a loop
        with engine.connect():
            pool.drain()
        with engine.connect():
            pass
        pool.connect().close()
        done(pool.close())
        eventually(lambda: len(told.of(Closed)) == len(told.of(Opened)))
        counted: dict[str, int] = {}
        for fact in told.of(Closed):
            counted[fact.why] = counted.get(fact.why, 0) + 1
        assert counted == dict(pool.stats().closes)
        unfit = set() if in_greenlet() else {"unfit"}
        assert set(counted) == {"invalidated", "detached", "drained", "closed"} | unfit


@on_each_runtime
def test_a_dead_one_found_in_the_background_is_told(shared_database: str, told: Everything, admin: Admin):
    name = unique("dead")
    with engine_on(shared_database, name=name, observer=told, **QUIET | {"keepalive": 0.05}) as engine:
        engine.connect().close()
        admin.kill(*admin.pids(name))
        eventually(lambda: told.of(Closed))
        assert told.of(Closed) == [Closed(why="dead")]
        assert engine.pool.stats().closes == {"dead": 1}


@on_both
@pytest.mark.parametrize(("make", "transient"), [(refused, True), (wrong_password, False)])
def test_failed_connects_are_counted_and_told_apart(
    shared_database: str, told: Everything, make: Callable[[], BaseException], transient: bool
):
    connects = Connects(shared_database)
    connects.error = make
    with engine_on(shared_database, creator=connects, observer=told, **QUIET | {"reconnect_timeout": 0}) as engine:
        for number in (1, 2):
            with pytest.raises(exc.OperationalError) as caught:
                engine.connect()
            eventually(lambda number=number: len(told.of(OpenFailed)) == number)
            fact = told.of(OpenFailed)[-1]
            assert fact.error is caught.value.orig
            assert (fact.transient, fact.failures) == (transient, number)
            last = told.of(NotServed)[-1]
            assert last.error is caught.value.orig
            assert last.seconds >= 0
        connects.error = None
        with engine.connect():
            pass
        connects.error = make
        engine.connect().invalidate()
        with pytest.raises(exc.OperationalError):
            engine.connect()
        eventually(lambda: len(told.of(OpenFailed)) == 3)
        assert told.of(OpenFailed)[-1].failures == 1  # from 1 again, since one succeeded


@on_both
def test_who_is_not_served_and_why(shared_database: str, told: Everything):
    numbers = QUIET | {"max_size": 1, "pool_timeout": 30, "max_waiting": 1}
    with engine_on(shared_database, observer=told, **numbers) as engine:
        holder = Borrower(engine.pool)
        assert holder.has_it.wait(10)
        waiter = Task(engine.connect)
        in_line(engine.pool, 1)
        with pytest.raises(LineFullError) as full:
            engine.connect()
        assert [fact.error for fact in told.of(NotServed)] == [full.value]
        done(done(engine.pool.close(0)))
        with pytest.raises(PoolClosedError) as closed:
            waiter.outcome()
        assert told.of(NotServed)[-1].error is closed.value
        with pytest.raises(PoolClosedError) as refused_now:
            engine.connect()
        assert told.of(NotServed)[-1].error is refused_now.value
        assert told.of(NotServed)[-1].seconds < 5
        holder.give_back()


@on_both
def test_a_timeout_is_told_with_the_time_waited(shared_database: str, told: Everything):
    with engine_on(shared_database, observer=told, **QUIET | {"max_size": 1, "pool_timeout": 0.1}) as engine:
        engine.pool.resize(min_size=1)
        done(engine.pool.warm_up(10))
        with engine.connect(), pytest.raises(PoolTimeoutError) as caught:
            engine.connect()
        [fact] = told.of(NotServed)
        assert fact.error is caught.value
        assert 0.1 <= fact.seconds < 5


def test_a_borrowers_own_facts_are_told_on_its_thread(shared_database: str, told: Everything):
    with engine_on(shared_database, observer=told, **QUIET | {"max_size": 1}) as engine:
        engine.connect().close()
        eventually(lambda: told.of(Opened))
        by_kind = dict(zip(map(type, told.facts), told.threads, strict=True))
        assert by_kind[Waited] == threading.get_ident()
        assert by_kind[Opened] != threading.get_ident()  # connects happen in the background


class Clumsy(Observer):
    """Fails at everything."""

    def fail(self, fact: Any) -> None:
        raise RuntimeError(f"clumsy with {type(fact).__name__}")

    opened = open_failed = closed = waited = not_served = leaked = came_back = fail  # type: ignore[assignment]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.ERROR, "dbkit.pool"):
        yield caplog


@on_both
def test_an_observer_that_raises_is_logged_and_harms_nothing(shared_database: str, log: pytest.LogCaptureFixture):
    connects = Connects(shared_database)
    numbers = QUIET | {"max_size": 1, "pool_timeout": 60, "leak_after": 0.02}
    with engine_on(shared_database, creator=connects, observer=Clumsy(), **numbers) as engine:
        connects.error = wrong_password
        with pytest.raises(exc.OperationalError):
            engine.connect()
        connects.error = None

        def noted(name: str) -> bool:
            return any(f"the observer failed in {name}()" in record.getMessage() for record in log.records)

        with engine.connect():
            with pytest.raises(PoolTimeoutError):
                engine.pool.borrow(0.05)
            eventually(lambda: noted("leaked"))
        with engine.connect():
            pass
        at_rest(engine.pool, idle=1, in_use=0, waiting=0)
        engine.pool.dispose()
        eventually(lambda: noted("closed"))
        for name in FACTS:
            assert noted(name), name
        assert all(record.exc_info is not None for record in log.records)


@on_both
def test_one_that_overrides_a_single_method(shared_database: str, log: pytest.LogCaptureFixture):
    class Counting(Observer):
        count = 0

        def opened(self, fact: Opened) -> None:
            self.count += 1

    counting = Counting()
    with engine_on(shared_database, observer=counting, leak_after=60, **QUIET) as engine:
        engine.connect().invalidate()
        engine.connect().close()
        engine.dispose()
        engine.connect().close()  # the engine's next pool tells the same observer
        eventually(lambda: counting.count == 3)
    assert log.records == []


@on_both
def test_an_observer_may_ask_the_pool_and_borrow_from_it(shared_database: str, log: pytest.LogCaptureFixture):
    class Curious(Observer):
        pool: Any = None
        seen: list[int] = []

        def waited(self, fact: Waited) -> None:
            self.seen.append(self.pool.stats().in_use)

        def opened(self, fact: Opened) -> None:
            assert self.pool.holders() is not None
            self.pool.status()

    curious = Curious()
    with engine_on(shared_database, observer=curious, **QUIET) as engine:
        curious.pool = engine.pool
        engine.connect().close()
        assert curious.seen == [1]
    assert log.records == []


@on_each_runtime
def test_a_reconnect_by_sqlalchemy_is_told(shared_database: str, told: Everything):
    with engine_on(shared_database, observer=told, **QUIET | {"max_size": 1}) as engine:
        engine.connect().close()
        complaints = [exc.DisconnectionError("once")]

        def complain(*_: object) -> None:
            if complaints:
                raise complaints.pop()

        event.listen(engine, "checkout", complain)
        engine.connect().close()
        eventually(lambda: len(told.of(Opened)) == 2, 1.0)
        assert engine.pool.stats().opens == 2


@on_both
def test_an_observer_changes_nothing_of_the_drivers_error(shared_database: str, told: Everything):
    connects = Connects(shared_database)
    connects.error = wrong_password
    with engine_on(shared_database, creator=connects, observer=told, **QUIET) as engine:
        with pytest.raises(exc.OperationalError, match="password authentication failed") as caught:
            engine.connect()
        assert isinstance(caught.value.orig, operational_error())
