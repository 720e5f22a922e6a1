"""What asks a provider: its token is cached, refreshed in advance, replaced when rejected, and fetched once for all."""

from __future__ import annotations

import logging

import pytest

from dbkit.credentials import CredentialError, Token, remote
from dbkit.settings import Secret
from dbkit.testing import FakeClock

from ..pool.helpers import eventually
from ..pool.runtimes import Task, asleep
from .double import NEAR_ITS_END, Double, reading, text
from .helpers import in_threads

NEVER = 10.0**10


@pytest.fixture
def clock(monkeypatch):
    """Return the clock that credentials look at."""
    made = FakeClock()
    monkeypatch.setattr(remote, "time", reading(made))
    return made


# ---- cached, and fetched once for all


def test_a_token_is_fetched_once_and_kept():
    provider = Double()
    assert [text(provider.current()) for _ in range(3)] == ["token-1"] * 3


def test_at_expiry_a_hundred_threads_cost_one_fetch():
    provider = Double(life=0)
    assert text(provider.current()) == "token-1"
    provider.life = 3600
    provider.gate.clear()
    threads = [Task(provider.current) for _ in range(100)]
    eventually(lambda: len(provider.fetched) == 2)
    provider.gate.set()
    assert {text(thread.outcome()) for thread in threads} == {"token-2"}
    assert provider.fetched == ["fetch", "fetch"]


def test_a_plain_password_is_asked_for_at_each_connect():
    provider = Double(plain=True)
    assert [text(provider.current()) for _ in range(3)] == ["token-1", "token-2", "token-3"]
    assert isinstance(provider.current(), Secret)


def test_a_token_without_an_end_is_kept_until_rejected():
    provider = Double(life=None)
    first = provider.current()
    assert provider.current() is first
    assert text(provider.renewed(first)) == "token-2"
    assert text(provider.current()) == "token-2"


# ---- refreshed in advance


def test_a_token_near_its_end_is_used_while_the_next_is_fetched(clock):
    provider = Double()
    old = provider.current()
    clock.advance(NEAR_ITS_END)
    provider.gate.clear()
    assert in_threads(provider.current, 20) == [old] * 20  # nobody waits
    provider.gate.set()
    eventually(lambda: provider.pending() is None)
    assert len(provider.fetched) == 2


def test_a_refresh_in_advance_replaces_the_token(clock):
    provider = Double()
    provider.current()
    clock.advance(NEAR_ITS_END)
    provider.current()
    assert eventually(lambda: text(provider.current()) == "token-2")
    assert provider.fetched == ["fetch", "fetch"]


def test_a_refresh_in_advance_that_fails_costs_nobody_anything(clock, caplog):
    provider = Double()
    old = provider.current()
    clock.advance(NEAR_ITS_END)
    provider.error = RuntimeError("the provider is down")
    with caplog.at_level(logging.WARNING, "dbkit.credentials"):
        assert provider.current() is old
        eventually(lambda: caplog.records)
    assert [provider.current() for _ in range(5)] == [old] * 5
    assert provider.pending() is None  # the next try is not due yet
    assert "the provider is down" in caplog.text
    assert "token-1" not in caplog.text
    clock.advance(15)  # now it is
    provider.error = None
    assert provider.current() is old
    assert eventually(lambda: text(provider.current()) == "token-3")


def test_an_sdk_that_gives_the_same_token_again_is_not_asked_all_the_time(clock):
    provider = Double()
    old = provider.current()
    clock.advance(NEAR_ITS_END)
    provider.answer = Token("token-1", clock.time() + 15)
    assert provider.current() is old
    eventually(lambda: provider.current() is provider.answer)
    clock.advance(12)  # it is near its end, too
    assert provider.current() is provider.answer
    assert provider.pending() is None
    assert len(provider.fetched) == 2


# ---- rejected


def test_what_the_server_rejected_is_replaced_once_for_all():
    provider = Double()
    rejected = provider.current()
    got = in_threads(lambda: provider.renewed(rejected), 32)
    assert {text(proof) for proof in got} == {"token-2"}
    assert provider.fetched == ["fetch", "fresh"]
    assert text(provider.renewed(rejected)) == "token-2"  # one who was late
    assert len(provider.fetched) == 2


@pytest.mark.parametrize("plain", [False, True])
def test_a_provider_with_nothing_else_to_give_says_so(plain):
    provider = Double(plain=plain)
    provider.answer = "same" if plain else Token("same", NEVER)
    rejected = provider.current()
    assert provider.renewed(rejected) is None
    assert provider.fetched == ["fetch", "fresh"]


def test_a_refresh_under_way_that_brings_the_rejected_one_is_not_the_last_word(clock):
    provider = Double()
    rejected = provider.current()
    clock.advance(NEAR_ITS_END)
    provider.answer = rejected  # from the provider's own cache
    provider.gate.clear()
    provider.current()
    eventually(lambda: len(provider.fetched) == 2)
    task = Task(provider.renewed, rejected)
    provider.answer = None
    eventually(lambda: asleep(task))  # until that refresh is done
    provider.gate.set()
    assert text(task.outcome()) == "token-3"
    assert provider.fetched == ["fetch", "fetch", "fresh"]


def test_a_refresh_on_demand_keeps_the_token_if_it_fails():
    provider = Double()
    old = provider.current()
    provider.error = RuntimeError("down")
    with pytest.raises(CredentialError, match="down"):
        provider.refresh()
    assert provider.current() is old
    provider.error = None
    provider.refresh()
    assert text(provider.current()) == "token-3"


def test_a_refresh_on_demand_waits_for_one_begun_after_it(clock):
    provider = Double()
    provider.current()
    clock.advance(NEAR_ITS_END)
    provider.gate.clear()
    provider.current()
    eventually(lambda: len(provider.fetched) == 2)
    task = Task(provider.refresh)
    provider.gate.set()
    task.outcome()
    assert provider.fetched == ["fetch", "fetch", "fresh"]
    assert text(provider.current()) == "token-3"


def test_a_provider_with_nothing_else_to_give_is_not_asked_all_the_time(clock):
    provider = Double()
    provider.answer = Token("same", NEVER)
    rejected = provider.current()
    for _ in range(5):
        assert provider.renewed(rejected) is None
    assert provider.fetched == ["fetch", "fresh"]
    clock.advance(remote.FUTILE)
    assert provider.renewed(rejected) is None
    assert provider.fetched == ["fetch", "fresh", "fresh"]
