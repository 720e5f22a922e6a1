"""One pool for the process: what happens when somebody interferes with its making."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from dbkit import DatabaseSettings
from dbkit.dropin.errors import AlreadyInitializedError, NotInitializedError
from dbkit.dropin.loans import Loans
from dbkit.dropin.shared_pool import SharedPool

from ..pool.helpers import Admin, Task, eventually, unique


@pytest.fixture
def shared() -> Iterator[SharedPool]:
    made = SharedPool("the pool", absent="there is none", present="there is one")
    yield made
    Task(made.close).outcome()  # does not hang, though another holds the lock


@pytest.fixture
def settings(shared_database: str) -> DatabaseSettings:
    return DatabaseSettings.load(
        shared_database, env_file=None, application_name=unique("shared"), min_size=2, max_size=3, timeout=10
    )


def test_settings_are_gathered_only_if_there_is_no_pool(shared: SharedPool, settings: DatabaseSettings):
    shared.make(lambda: settings)
    with pytest.raises(AlreadyInitializedError, match="there is one"):
        shared.make(lambda: pytest.fail("nobody needs them"))


def test_a_signal_handler_may_close_what_its_thread_is_making(shared: SharedPool, settings: DatabaseSettings):
    def load() -> DatabaseSettings:
        assert not shared.close()  # there is nothing yet
        return settings

    Task(shared.make, load).outcome()
    assert shared.is_open()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_interrupted_it_leaves_nothing_open(
    shared: SharedPool,
    settings: DatabaseSettings,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
):
    name = str(settings.options["application_name"])
    warm_up = Loans.warm_up

    def interrupted(loans: Loans) -> None:
        warm_up(loans)
        assert len(admin.pids(name)) == 2
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Loans, "warm_up", interrupted)
        with pytest.raises(error):
            shared.make(lambda: settings)
    assert not shared.is_open()
    with pytest.raises(NotInitializedError, match="there is none"):
        shared.borrow()
    eventually(lambda: not admin.pids(name))
    Task(shared.make, lambda: settings).outcome()  # another thread: the lock is free
    shared.give_back(shared.borrow())


def test_while_one_thread_makes_it_the_others_see_none(shared: SharedPool, settings: DatabaseSettings):
    seen: list[Any] = []

    def load() -> DatabaseSettings:
        def look() -> None:
            seen.append(shared.is_open())
            with pytest.raises(NotInitializedError):
                shared.borrow()

        Task(look).outcome()  # does not wait for the lock
        return settings

    shared.make(load)
    assert seen == [False]


def test_a_loan_of_an_earlier_pool_goes_back_to_that_one(shared: SharedPool, settings: DatabaseSettings, admin: Admin):
    shared.make(lambda: settings)
    old = shared.borrow()
    pid = old.get_backend_pid()
    shared.close()
    shared.make(lambda: settings)
    new = shared.borrow()
    shared.give_back(old)
    eventually(lambda: pid not in admin.pids(str(settings.options["application_name"])))
    with new.cursor() as cursor:
        cursor.execute("SELECT 1")
    shared.give_back(new)


def test_what_nobody_refers_to_after_the_end_is_closed(shared: SharedPool, settings: DatabaseSettings, admin: Admin):
    shared.make(lambda: settings)
    forgotten = shared.borrow()
    assert forgotten.info.backend_pid
    shared.close()
    del forgotten
    gc.collect()
    eventually(lambda: not admin.pids(str(settings.options["application_name"])))


class CountedLock:
    """A lock that knows who came to it, and may still wait for it: no public name tells that of a ``SharedPool``."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.came: list[int] = []

    def __enter__(self) -> None:
        self.came.append(threading.get_ident())
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def test_who_waited_for_an_attempt_that_failed_is_told_what_it_found_and_makes_none_of_its_own():
    shared = SharedPool("A", absent="there is none", present="there is one")
    gate, attempts = threading.Event(), []

    def load() -> Any:
        attempts.append(1)
        assert gate.wait(20)
        raise psycopg2.OperationalError("nobody answered")

    door = CountedLock(shared._lock)
    shared._lock = door  # type: ignore[assignment]
    tasks = [Task(shared.ensure, load) for _ in range(5)]
    eventually(lambda: len(door.came) == 5)
    gate.set()
    for task in tasks:
        with pytest.raises(psycopg2.OperationalError, match="nobody answered"):
            task.outcome()
    assert len(attempts) == 1
    with pytest.raises(psycopg2.OperationalError):
        shared.ensure(load)  # the next one tries again
    assert len(attempts) == 2
