"""Where threads are: what faulthandler writes, read back, and the frames themselves."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from dbkit.core.holding import Call, calls_of
from dbkit.runtime import stacks
from dbkit.runtime.stacks import DEPTH, call_site, look_at, parse

from .helpers import PATIENCE, eventually

DUMP = """\
Thread 0x00000000000000ff (most recent call first):
  File "/app/a \\xe9.py", line 7 in wait
  File "/app/\\u20ac.py", line 21 in serve_\\U0001f600

Current thread 0x0000000000000010 (most recent call first):
  File "/app/main.py", line 3 in <module>
"""


def test_the_calls_of_the_threads_that_were_asked_for():
    found = parse(DUMP, [0xFF, 0x10, 0x99])
    assert found.complete
    assert found.calls == {
        0xFF: (Call("wait", "/app/a é.py", 7), Call("serve_😀", "/app/€.py", 21)),
        0x10: (Call("<module>", "/app/main.py", 3),),
    }
    assert list(parse(DUMP, [0x10]).calls) == [0x10]


@pytest.mark.parametrize(("dump", "complete"), [(DUMP, True), (DUMP + "\n...\n", False), ("", False)])
def test_threads_that_were_not_written_down_may_still_run(dump: str, complete: bool):
    assert parse(dump, [0x99]) == ({}, complete)


def test_a_deep_stack_is_cut_off():
    call = '  File "/app/a.py", line 1 in again\n'
    found = parse(f"Thread 0x0000000000000010 (most recent call first):\n{call * (DEPTH + 5)}", [0x10])
    assert len(found.calls[0x10]) == DEPTH


def sleeper(until: threading.Event, begun: threading.Event) -> None:
    begun.set()
    until.wait(PATIENCE)


@pytest.mark.parametrize("by", ["faulthandler", "frames"])
def test_a_thread_is_seen_where_it_waits_and_one_that_has_ended_is_not(by: str, monkeypatch: pytest.MonkeyPatch):
    if by == "frames" and sys.version_info < (3, 12):
        pytest.skip("frames of other threads are not looked at before Python 3.12")
    monkeypatch.setattr(stacks, "_COLLECTOR_RUNS_ANYWHERE", by == "faulthandler")
    until, begun = threading.Event(), threading.Event()
    thread = threading.Thread(target=sleeper, args=(until, begun))
    thread.start()
    assert begun.wait(PATIENCE)
    number = thread.ident
    assert number is not None

    def names() -> list[str]:
        return [call.function for call in look_at([number]).calls.get(number, ())]

    eventually(lambda: "wait" in names()[:2] and "sleeper" in names())
    seen = look_at([number, 1])
    assert seen.complete
    assert list(seen.calls) == [number]
    until.set()
    thread.join(PATIENCE)


def test_where_there_is_no_file_to_write_to_nothing_is_seen(monkeypatch: pytest.MonkeyPatch):
    def no_file() -> Any:
        raise OSError("too many open files")

    monkeypatch.setattr(stacks, "_COLLECTOR_RUNS_ANYWHERE", True)
    monkeypatch.setattr(stacks, "_memory_file", no_file)
    assert look_at([threading.get_ident()]) == ({}, False)


def test_a_call_site_leads_outwards_and_not_too_far():
    def descend(left: int) -> Any:
        return descend(left - 1) if left else call_site(sys._getframe())

    names = [call.function for call in calls_of(descend(2))]
    assert names[:4] == [*["descend"] * 3, "test_a_call_site_leads_outwards_and_not_too_far"]
    assert len(descend(2 * DEPTH)) == DEPTH
    assert call_site(None) == ()
