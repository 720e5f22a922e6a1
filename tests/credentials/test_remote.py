"""What asks a provider: cached, asked once for all, bounded in time, and silent about secrets."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dbkit.credentials import CredentialError, Token
from dbkit.credentials.remote import MOST_HUNG, RemoteCredential
from dbkit.diagnosis.outage import is_refusal
from dbkit.settings import Secret

from ..pool.helpers import Task, eventually
from ..shown import everything_shown

CANARY = "t0ken-canary"
NEVER = 10.0**10


class Provider(RemoteCredential):
    """Gives token-1, token-2, ...; can be held up at a gate and made to fail."""

    def __init__(self, *, life: float | None = 3600, timeout: float = 10, plain: bool = False) -> None:
        super().__init__(timeout=timeout)
        self.life = life
        self.plain = plain
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.answer: object = None
        self.fetched: list[str] = []
        """How each fetch was asked for, in order."""

    def fetch(self):
        return self._give("fetch")

    def fetch_fresh(self):
        return self._give("fresh")

    def _give(self, how):
        self.fetched.append(how)
        number, answer = len(self.fetched), self.answer
        assert self.gate.wait(60), "nobody opened the gate"
        if self.error is not None:
            kept_in_this_frame = CANARY  # noqa: F841 - where an error tracker would find it
            raise self.error
        if answer is not None:
            return answer
        text = f"token-{number}"
        return text if self.plain else Token(text, None if self.life is None else time.time() + self.life)


def text(proof):
    return (proof.value if isinstance(proof, Token) else proof).reveal()


def all_at_once(count, work):
    """Have so many threads do it at the same time; return what they got."""
    barrier = threading.Barrier(count)

    def one(_):
        barrier.wait(10)
        return work()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


# ---- cached, and fetched once for all


def test_a_token_is_fetched_once_and_kept():
    provider = Provider()
    assert [text(provider.current()) for _ in range(3)] == ["token-1"] * 3


def test_at_expiry_a_hundred_threads_cost_one_fetch():
    provider = Provider(life=0)
    assert text(provider.current()) == "token-1"
    provider.life = 3600
    provider.gate.clear()
    threads = [Task(provider.current) for _ in range(100)]
    eventually(lambda: len(provider.fetched) == 2)
    provider.gate.set()
    assert {text(thread.outcome()) for thread in threads} == {"token-2"}
    assert provider.fetched == ["fetch", "fetch"]


def test_a_plain_password_is_asked_for_at_each_connect():
    provider = Provider(plain=True)
    assert [text(provider.current()) for _ in range(3)] == ["token-1", "token-2", "token-3"]
    assert isinstance(provider.current(), Secret)


def test_a_token_without_an_end_is_kept_until_rejected():
    provider = Provider(life=None)
    first = provider.current()
    assert provider.current() is first
    assert text(provider.renewed(first)) == "token-2"
    assert text(provider.current()) == "token-2"


# ---- refreshed in advance


def in_its_last_third(provider):
    """Have the provider's token due for a refresh, but usable; return it."""
    provider.life = 3600
    token = provider.current()
    provider._lease = type(provider._lease)(token, refresh_at=0.0, unusable_at=NEVER)
    return token


def test_a_token_near_its_end_is_used_while_the_next_is_fetched():
    provider = Provider()
    old = in_its_last_third(provider)
    provider.gate.clear()
    assert all_at_once(20, provider.current) == [old] * 20  # nobody waits
    provider.gate.set()
    eventually(lambda: provider._under_way is None and len(provider.fetched) == 2)


def test_a_refresh_in_advance_replaces_the_token():
    provider = Provider()
    in_its_last_third(provider)
    provider._lease = type(provider._lease)(provider._lease.token, refresh_at=0.0, unusable_at=time.time() + 100)
    provider.current()
    assert eventually(lambda: text(provider.current()) == "token-2")
    assert provider.fetched == ["fetch", "fetch"]


def test_a_refresh_in_advance_that_fails_costs_nobody_anything(caplog):
    provider = Provider()
    old = in_its_last_third(provider)
    provider.error = RuntimeError("the provider is down")
    with caplog.at_level(logging.WARNING, "dbkit.credentials"):
        assert provider.current() is old
        eventually(lambda: caplog.records)
    eventually(lambda: provider._under_way is None)
    assert [provider.current() for _ in range(5)] == [old] * 5
    assert len(provider.fetched) == 2  # the next try is not due yet
    assert "the provider is down" in caplog.text
    assert "token-1" not in caplog.text
    provider._not_before = 0.0  # now it is
    provider.error = None
    provider.current()
    eventually(lambda: len(provider.fetched) == 3)


def test_an_sdk_that_gives_the_same_token_again_is_not_asked_all_the_time():
    provider = Provider()
    old = in_its_last_third(provider)
    provider.answer = Token("token-1", time.time() + 60)
    assert provider.current() is old
    eventually(lambda: provider._under_way is None and len(provider.fetched) == 2)
    provider._lease = type(provider._lease)(old, refresh_at=0.0, unusable_at=NEVER)
    provider.current()
    assert len(provider.fetched) == 2


# ---- rejected


def test_what_the_server_rejected_is_replaced_once_for_all():
    provider = Provider()
    rejected = provider.current()
    got = all_at_once(32, lambda: provider.renewed(rejected))
    assert {text(proof) for proof in got} == {"token-2"}
    assert provider.fetched == ["fetch", "fresh"]
    assert text(provider.renewed(rejected)) == "token-2"  # one who was late
    assert len(provider.fetched) == 2


@pytest.mark.parametrize("plain", [False, True])
def test_a_provider_with_nothing_else_to_give_says_so(plain):
    provider = Provider(plain=plain)
    provider.answer = "same" if plain else Token("same", NEVER)
    rejected = provider.current()
    assert provider.renewed(rejected) is None
    assert provider.fetched == ["fetch", "fresh"]


def test_a_refresh_under_way_that_brings_the_rejected_one_is_not_the_last_word():
    provider = Provider()
    rejected = in_its_last_third(provider)
    provider.answer = rejected  # from the provider's own cache
    provider.gate.clear()
    provider.current()
    eventually(lambda: len(provider.fetched) == 2)
    task = Task(provider.renewed, rejected)
    provider.answer = None
    eventually(lambda: provider._lease is None)  # it was thrown away
    provider.gate.set()
    assert text(task.outcome()) == "token-3"
    assert provider.fetched == ["fetch", "fetch", "fresh"]


def test_a_refresh_on_demand_keeps_the_token_if_it_fails():
    provider = Provider()
    old = provider.current()
    provider.error = RuntimeError("down")
    with pytest.raises(CredentialError, match="down"):
        provider.refresh()
    assert provider.current() is old
    provider.error = None
    provider.refresh()
    assert text(provider.current()) == "token-3"


def test_a_refresh_on_demand_waits_for_one_begun_after_it():
    provider = Provider()
    in_its_last_third(provider)
    provider.gate.clear()
    provider.current()
    eventually(lambda: len(provider.fetched) == 2)
    task = Task(provider.refresh)
    provider.gate.set()
    task.outcome()
    assert provider.fetched == ["fetch", "fetch", "fresh"]
    assert text(provider.current()) == "token-3"


def test_a_provider_with_nothing_else_to_give_is_not_asked_all_the_time():
    provider = Provider()
    provider.answer = Token("same", NEVER)
    rejected = provider.current()
    for _ in range(5):
        assert provider.renewed(rejected) is None
    assert provider.fetched == ["fetch", "fresh"]
    provider._futile = (provider._futile[0], 0.0)  # a while later
    assert provider.renewed(rejected) is None
    assert provider.fetched == ["fetch", "fresh", "fresh"]


# ---- bounded


def test_a_hanging_provider_costs_the_timeout_and_is_asked_again():
    provider = Provider(timeout=0.1)
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
    eventually(lambda: provider._under_way is None and provider._hung == 0)
    assert isinstance(provider.current(), Token)
    assert len(provider.fetched) == 1 + MOST_HUNG  # what came late was kept


def test_what_is_waited_for_can_be_told():
    provider = Provider()
    assert provider.pending() is None
    provider.gate.clear()
    task = Task(provider.current)
    assert "Provider was asked" in eventually(provider.pending)
    provider.gate.set()
    task.outcome()
    assert provider.pending() is None


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(ValueError, match="timeout"):
        Provider(timeout=timeout)


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
    provider = Provider()
    provider.answer = answer() if callable(answer) else answer
    with pytest.raises(CredentialError, match=words):
        provider.current()


def test_a_failure_is_told_with_its_cause_and_without_its_frames():
    provider = Provider()
    provider.error = RuntimeError("no identity\n here")
    provider.error.__cause__ = ValueError("deeper")
    with pytest.raises(CredentialError, match=r"^Provider failed: RuntimeError: no identity here$") as caught:
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
    provider = Provider(timeout=5)
    provider.error = OddError()
    for _ in range(MOST_HUNG + 2):
        with pytest.raises(CredentialError, match="OddError"):
            provider.current()
    provider.error = None
    assert isinstance(provider.current(), Token)


def test_the_next_caller_after_a_failure_asks_again():
    provider = Provider()
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
        sys.path.insert(0, os.getcwd())
        from tests.credentials.test_remote import Provider, text
        from dbkit.credentials.base import Lease, Token

        provider = Provider()
        kept = provider.current()
        provider._lease = Lease(kept, refresh_at=0.0, unusable_at=10.0**10)
        provider.gate.clear()
        provider.current()
        while len(provider.fetched) < 2:
            time.sleep(0.001)
        provider._lock.acquire()  # the worst moment
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
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
