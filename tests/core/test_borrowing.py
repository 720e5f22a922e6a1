"""A borrower's decisions: may this connection be trusted, and how long to sleep in line."""

from __future__ import annotations

import math

import pytest

from dbkit.core.borrowing import FRESH, NAP, Next, Trust, Wait, trust

from .ledgers import Slot


def lying(*, idle_since: float, checked_at: float) -> Slot:
    """An idle slot, given back and last checked at these times."""
    slot = Slot()
    slot.idle_since, slot.checked_at = idle_since, checked_at
    return slot


class TestTrust:
    @pytest.mark.parametrize("quiet", [0.0, 1.0, 239.9])
    def test_a_connection_with_a_socket_is_peeked_at_every_time(self, quiet):
        slot = lying(idle_since=1000.0, checked_at=0.0)
        assert trust(slot, 1000.0 + quiet, keepalive=120.0, has_socket=True) is Trust.PEEK

    @pytest.mark.parametrize(("quiet", "found"), [(0.0, Trust.LEND), (FRESH * 0.9, Trust.LEND), (FRESH, Trust.CHECK)])
    def test_one_without_a_socket_is_lent_unchecked_only_while_it_is_fresh(self, quiet, found):
        assert FRESH == 0.02
        slot = lying(idle_since=0.0, checked_at=-5.0)
        assert trust(slot, quiet, keepalive=None, has_socket=False) is found

    @pytest.mark.parametrize("has_socket", [True, False])
    def test_one_that_upkeep_has_missed_twice_is_checked(self, has_socket):
        slot = lying(idle_since=0.0, checked_at=10.0)
        assert trust(slot, 250.1, keepalive=120.0, has_socket=has_socket) is Trust.CHECK

    @pytest.mark.parametrize("missed", [240.0, 250.0])
    def test_the_last_answer_counts_be_it_a_return_or_a_check(self, missed):
        assert trust(lying(idle_since=0.0, checked_at=10.0), missed, keepalive=120.0, has_socket=True) is Trust.PEEK
        assert trust(lying(idle_since=10.0, checked_at=0.0), missed, keepalive=120.0, has_socket=True) is Trust.PEEK

    def test_without_keepalive_nothing_was_missed(self):
        assert trust(lying(idle_since=0.0, checked_at=0.0), 1e9, keepalive=None, has_socket=True) is Trust.PEEK


class TestWait:
    def test_it_sleeps_until_the_deadline_and_leaves(self):
        wait = Wait(100.5)
        assert wait.begin(100.0) == 0.5
        assert wait.end(woken=False) is Next.LEAVE

    def test_past_the_deadline_it_sleeps_no_more(self):
        wait = Wait(100.0)
        assert wait.begin(101.0) == 0.0
        assert wait.end(woken=False) is Next.LEAVE

    def test_one_that_is_woken_looks_even_at_its_deadline(self):
        wait = Wait(100.0)
        wait.begin(100.0)
        assert wait.end(woken=True) is Next.LOOK

    def test_it_looks_around_uncalled_after_a_nap_each_twice_as_long(self):
        assert NAP == 1.0
        wait, slept = Wait(math.inf), []
        for _ in range(4):
            slept.append(wait.begin(0.0))
            assert wait.end(woken=False) is Next.LOOK
        assert slept == [1.0, 2.0, 4.0, 8.0]

    def test_a_nap_that_somebody_ended_was_none(self):
        wait = Wait(math.inf)
        wait.begin(0.0)
        wait.end(woken=True)
        assert wait.begin(0.0) == 1.0

    def test_a_breath_bounds_the_sleep_until_it_is_over(self):
        wait = Wait(100.0)
        wait.take_a_breath(0.002)
        assert wait.begin(0.0) == 0.002
        assert wait.end(woken=False) is Next.LOOK
        wait.take_a_breath(math.inf)
        assert wait.begin(0.0) == 1.0, "a breath is no nap"

    def test_something_to_be_retried_bounds_one_sleep_only(self):
        wait = Wait(100.0)
        assert wait.begin(0.0, 0.25) == 0.25
        assert wait.end(woken=False) is Next.LOOK
        assert wait.begin(0.25) == 1.0

    def test_a_deadline_before_nap_and_breath_ends_it(self):
        wait = Wait(0.5)
        wait.take_a_breath(0.7)
        assert wait.begin(0.0, 0.6) == 0.5
        assert wait.end(woken=False) is Next.LEAVE


def test_how_long_it_may_wait_in_all_counts_from_its_beginning():
    assert Wait(deadline=130.0).seconds_in_all(100.0) == 30.0


def test_freshness_counts_from_the_return():
    assert trust(lying(idle_since=1000.0, checked_at=0.0), 1000.01, keepalive=None, has_socket=False) is Trust.LEND
