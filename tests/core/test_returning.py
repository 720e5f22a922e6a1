"""The ledger: what comes back, what proves dead, what vanishes."""

from __future__ import annotations

import pytest

from dbkit.core.reasons import CloseReason
from dbkit.core.types import Check, Open, State

from .ledgers import book, borrowed, closed, give_back, grow, queued, todo


def test_a_quiet_return_needs_no_lock():
    ledger = book(min_size=0)
    [slot] = borrowed(ledger, 1)
    assert ledger.give_back(slot, 1.0) is False
    assert (slot.state, slot.idle_since) == (State.IDLE, 1.0)
    assert ledger.give_back(slot, 2.0) is False, "it is not in use any more"


def test_how_long_it_was_out_is_counted():
    ledger = book(min_size=0)
    slots = borrowed(ledger, 2, now=10.0)
    give_back(ledger, slots[0], 13.0)
    ledger.discard(slots[1], 15.0, CloseReason.DETACHED)
    assert ledger.stats().use_time.total == 8.0
    assert ledger.stats().use_time.longest == 5.0


def test_one_that_comes_back_in_the_very_moment_it_is_too_old_goes():
    ledger = book(min_size=0, max_lifetime=100)
    [slot] = borrowed(ledger, 1)
    give_back(ledger, slot, slot.retire_at)
    assert closed(ledger) == [(slot, CloseReason.MAX_LIFETIME)]


def test_giving_back_twice_harms_nothing():
    ledger = book(min_size=0, max_size=1)
    [slot] = borrowed(ledger, 1)
    give_back(ledger, slot, 1.0)
    give_back(ledger, slot, 2.0)
    assert list(ledger.idle) == [slot]
    assert slot.idle_since == 1.0


def test_discarding_one_that_was_given_back_or_is_gone_counts_once():
    ledger = book(min_size=0, max_size=1)
    [slot] = borrowed(ledger, 1)
    give_back(ledger, slot, 1.0)
    ledger.discard(slot, 3.0, CloseReason.DETACHED)
    ledger.discard(slot, 3.0, CloseReason.DETACHED)
    assert repr(ledger) == "<0-1: 0 idle, 0 in use, 0 opening; 0 waiting>"
    assert ledger.stats().closes == {"detached": 1}
    assert ledger.stats().borrows == 1


@pytest.mark.parametrize("reason", list(CloseReason))
def test_a_discarded_slot_makes_room_for_the_next_in_line_and_says_why(reason):
    ledger = book(min_size=0, max_size=1)
    [slot] = borrowed(ledger, 1)
    waiter = queued(ledger)
    ledger.discard(slot, 1.0, reason)
    assert closed(ledger) == [(slot, reason)]
    [fresh] = grow(ledger, 2.0)
    assert waiter.slot is fresh


def test_what_cannot_be_suspected_any_more_is_left_alone():
    ledger = book(min_size=0)
    [slot] = borrowed(ledger, 1)
    ledger.suspect_idle(slot, 1.0)
    assert slot.state is State.IN_USE, "a borrower was quicker, and has it"
    give_back(ledger, slot, 2.0)
    ledger.suspect(slot, 3.0)
    assert slot.state is State.IDLE
    ledger.checked(slot, 3.0, alive=False)
    assert slot.state is State.IDLE
    assert not todo(ledger, Check)


def test_a_slot_that_vanished_without_a_word_is_found_by_counting():
    ledger = book(min_size=0, max_size=2)
    slots = borrowed(ledger, 2)
    waiter = queued(ledger)
    assert ledger.recount(1.0) == 0
    del slots[:]
    assert ledger.recount(1.0) == 2
    assert ledger.stats().closes == {"vanished": 2}
    assert len(todo(ledger, Open)) == 1
    assert waiter in ledger.line
