"""What asks a provider: how long it waits, what it says, and what a fork leaves of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dbkit.credentials import CredentialError, Token
from dbkit.credentials.remote import MOST_HUNG
from dbkit.diagnosis.outage import is_refusal

from ..pool.helpers import Task, eventually
from ..shown import everything_shown
from .double import CANARY, Double, text

# ---- how long


def test_a_hanging_provider_costs_the_timeout_and_is_asked_again():
    provider = Double(timeout=0.1)
    provider.gate.clear()
    began = time.monotonic()
    with pytest.raises(CredentialError, match=r"did not answer within timeout=0\.1 s") as caught:
        provider.current()
    assert 0.1 <= time.monotonic() - began < 5
    assert not is_refusal(caught.value)  # a pool that has worked rides it out
    for _ in range(MOST_HUNG + 3):
        with pytest.raises(CredentialError):
            provider.current()
    assert len(provider.fetched) == 1 + MOST_HUNG  # threads do not pile up
    provider.gate.set()
    eventually(lambda: provider.pending() is None)
    assert isinstance(provider.current(), Token)
    assert len(provider.fetched) == 1 + MOST_HUNG  # what came late was kept


def test_calls_that_hung_and_came_back_may_hang_again():
    provider = Double(timeout=0.05)

    def asked_while_it_hangs():
        with pytest.raises(CredentialError):
            provider.refresh()
        return len(provider.fetched)

    for times in (1, 2):
        provider.gate.clear()
        eventually(lambda times=times: asked_while_it_hangs() == times * (1 + MOST_HUNG))
        provider.gate.set()
        eventually(lambda: provider.pending() is None)


def test_what_is_waited_for_can_be_told():
    provider = Double()
    assert provider.pending() is None
    provider.gate.clear()
    task = Task(provider.current)
    assert "Double was asked" in eventually(provider.pending)
    provider.gate.set()
    task.outcome()
    assert provider.pending() is None


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match="timeout"):
        Double(timeout=timeout)


# ---- what it says


async def coroutine():
    return "password"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (7, "not int"),
        (b"token", "not bytes"),
        ("", "empty"),
        (Token(""), "empty"),
        ("to\0ken", "NUL"),
        ("token\udcff", "UTF-8"),
        (["token"], "not list"),
        (coroutine, "not coroutine"),
    ],
)
def test_an_answer_that_is_none(answer, words):
    provider = Double()
    provider.answer = answer() if callable(answer) else answer
    with pytest.raises(CredentialError, match=words):
        provider.current()


def test_a_failure_is_told_with_its_cause_and_without_its_frames():
    provider = Double()
    provider.error = RuntimeError("no identity\n here")
    provider.error.__cause__ = ValueError("deeper")
    with pytest.raises(CredentialError, match=r"^Double failed: RuntimeError: no identity here$") as caught:
        provider.current()
    assert caught.value.orig is caught.value.__cause__ is provider.error
    shown = everything_shown(caught.value)
    assert "deeper" in shown
    assert CANARY not in shown


class OddError(Exception):
    exceptions = ("not", "errors")

    def __str__(self):
        raise RuntimeError("it cannot even say what it is")


def test_an_error_of_the_oddest_kind_hurts_nobody_else():
    provider = Double(timeout=5)
    provider.error = OddError()
    for _ in range(MOST_HUNG + 2):
        with pytest.raises(CredentialError, match="OddError"):
            provider.current()
    provider.error = None
    assert isinstance(provider.current(), Token)


def test_the_next_caller_after_a_failure_asks_again():
    provider = Double()
    provider.error = RuntimeError("down")
    for _ in range(2):
        with pytest.raises(CredentialError):
            provider.current()
    provider.error = None
    assert text(provider.current()) == "token-3"


# ---- forks


def test_a_forked_child_has_the_token_and_none_of_the_parents_threads():
    script = """
        import os, sys, threading, time
        from dbkit.credentials import remote
        from dbkit.testing import FakeClock
        from tests.credentials.double import NEAR_ITS_END, Double, reading, text

        clock = FakeClock()
        remote.time = reading(clock)
        provider = Double()
        kept = provider.current()
        clock.advance(NEAR_ITS_END)
        provider.gate.clear()
        provider.current()
        while len(provider.fetched) < 2:
            time.sleep(0.001)
        provider.stay_inside()  # the worst moment
        child = os.fork()
        if child == 0:
            provider.gate = threading.Event()
            provider.gate.set()
            good = provider.current() is kept and text(provider.renewed(kept)) != "token-1"
            os._exit(7 if good else 8)
        deadline = time.monotonic() + 20
        while not (found := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, 9)
                sys.exit("the child hangs")
            time.sleep(0.005)
        sys.exit(0 if os.waitstatus_to_exitcode(found[1]) == 7 else "the child failed")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
