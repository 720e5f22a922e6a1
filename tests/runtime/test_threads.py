"""The five verbs, on threads."""

from __future__ import annotations

import _thread
import contextvars
import itertools
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from dbkit.errors import PatchedTooLateError
from dbkit.runtime import threads
from dbkit.runtime.bell import Bell
from dbkit.runtime.locks import GreenLock, ThreadLock
from dbkit.runtime.threads import ThreadRuntime

from .helpers import PATIENCE, FromOutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbkit.runtime.base import OwnedLock, Runtime

tenant = contextvars.ContextVar("tenant", default="nobody")


def elsewhere(action: Callable[[], object]) -> object:
    """What ``action`` returned on another thread."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(action()))
    thread.start()
    thread.join(PATIENCE)
    return answers[0]


def test_who_is_the_built_in_itself():
    runtime: Runtime = ThreadRuntime()
    assert runtime.who is threading.get_ident


@pytest.mark.parametrize("make", [ThreadLock, GreenLock])
def test_a_lock_knows_whether_its_caller_is_inside(make: Callable[[], OwnedLock]):
    lock = make()
    assert not lock.is_mine()
    with lock:
        assert lock.is_mine()
        assert not elsewhere(lock.is_mine)
    assert not lock.is_mine()


@pytest.mark.parametrize("make", [ThreadLock, GreenLock])
def test_only_one_at_a_time_is_inside_a_lock(make: Callable[[], OwnedLock]):
    lock, inside, most = make(), list[int](), list[int]()

    def enter() -> None:
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    users = [threading.Thread(target=enter) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join(PATIENCE)
    assert len(most) == 800
    assert max(most) == 1


def test_a_greenlet_struck_while_it_waits_for_a_lock_is_not_taken_for_its_owner(monkeypatch: pytest.MonkeyPatch):
    class Struck:
        def acquire(self) -> NoReturn:
            raise FromOutsideError

    lock = GreenLock()
    monkeypatch.setattr(lock, "_lock", Struck())
    with pytest.raises(FromOutsideError), lock:
        pass
    assert not lock.is_mine()


def test_a_waiter_is_woken_once_however_often_it_is_called():
    waiter = ThreadRuntime().waiter(time.monotonic(), 1, None)
    assert not waiter.wait(0)
    waiter.wake()
    waiter.wake()
    assert waiter.wait(PATIENCE)
    assert not waiter.wait(0.001)


def test_a_waiter_may_wait_for_longer_than_a_lock_can():
    waiter = ThreadRuntime().waiter(time.monotonic(), 1, None)
    waiter.wake()
    assert waiter.wait(float("inf"))


def test_a_waiter_knows_who_asks_since_when_and_in_which_context():
    context = contextvars.copy_context()
    waiter = ThreadRuntime().waiter(12.5, 7, context)
    assert (waiter.since, waiter.due_at, waiter.holder) == (12.5, 12.5, 7)
    assert waiter.context is context
    assert waiter.slot is waiter.error is None
    assert not waiter.called


def test_a_job_sees_the_context_variables_of_whom_it_is_for():
    runtime, seen = ThreadRuntime(), list[str]()
    tenant.set("acme")
    context = contextvars.copy_context()
    tenant.set("another")
    done = [Bell(), Bell()]

    def job(bell: Bell) -> None:
        seen.append(tenant.get())
        tenant.set("changed by a job")
        bell.wake()

    for bell in done:
        assert runtime.spawn(lambda bell=bell: job(bell), context)  # type: ignore[misc]
    assert all(bell.wait(PATIENCE) for bell in done)
    assert seen == ["acme", "acme"]
    assert context[tenant] == "acme"


def test_a_job_without_a_context_sees_none():
    seen, done = list[str](), Bell()
    tenant.set("acme")

    def job() -> None:
        seen.append(tenant.get())
        done.wake()

    assert ThreadRuntime().spawn(job, None)
    assert done.wait(PATIENCE)
    assert seen == ["nobody"]


def test_a_job_may_be_spawned_from_within_the_very_context_it_runs_in():
    ran, context = Bell(), contextvars.copy_context()
    assert context.run(lambda: ThreadRuntime().spawn(ran.wake, context))
    assert ran.wait(PATIENCE)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_job_that_gets_no_thread_is_not_run_by_somebody_else(error: type[Exception], monkeypatch: pytest.MonkeyPatch):
    def start_new_thread(*_: object) -> NoReturn:
        raise error("no thread can be had")

    ran: list[str] = []
    monkeypatch.setattr(_thread, "start_new_thread", start_new_thread)
    assert not ThreadRuntime().spawn(lambda: ran.append("here"), None)
    assert not ran


def test_a_job_that_fails_is_logged(caplog: pytest.LogCaptureFixture):
    def job() -> NoReturn:
        raise ValueError("the job's own trouble")

    threads._do(job)
    assert "the job's own trouble" in caplog.text


def test_an_alarm_rings():
    rung = Bell()
    ThreadRuntime().call_at(time.monotonic() + 0.01, rung.wake)
    assert rung.wait(PATIENCE)


def test_a_pool_made_before_the_process_was_patched_says_so_instead_of_blocking(monkeypatch: pytest.MonkeyPatch):
    runtime = ThreadRuntime()
    monkeypatch.setattr(_thread, "get_ident", itertools.count().__next__)
    with pytest.raises(PatchedTooLateError, match=r"patch_all\(\).*before making the pool"):
        runtime.waiter(0.0, 1, None)
    with pytest.raises(PatchedTooLateError):
        runtime.spawn(lambda: None, None)


def test_a_runtime_made_in_a_patched_process_has_locks_for_greenlets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_thread, "get_ident", lambda: 5)
    assert isinstance(ThreadRuntime().lock(), GreenLock)
