"""The histogram against sorted data, and the totals against what was done."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.core.reasons import CloseReason
from dbkit.core.stats import Histogram
from dbkit.core.types import Open

from .ledgers import book, borrowed, fail, give_back, grow, queued, steady, todo

times = st.lists(st.floats(0.0, 1e5, allow_nan=False), min_size=1, max_size=50)


def histogram(data: list[float]) -> Histogram:
    found = Histogram()
    for seconds in data:
        found.add(seconds)
    return found


@steady
@given(times)
def test_count_mean_and_longest_are_those_of_the_data(data):
    found = histogram(data)
    assert found.count == len(data)
    assert found.mean == pytest.approx(sum(data) / len(data))
    assert found.longest == max(data)
    assert found.total == pytest.approx(sum(data))


@steady
@given(times)
def test_each_bucket_counts_the_times_from_half_its_bound_up_to_it(data):
    buckets = histogram(data).buckets
    assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
    shifted = [seconds + 1e-9 for seconds in data]
    for bound, count in buckets:
        assert count == sum(bound / 2 <= seconds < bound for seconds in shifted)
        assert count > 0
    assert sum(count for _, count in buckets) == len(data)


@steady
@given(times, st.floats(0.0, 1.0))
def test_a_quantile_is_right_to_within_a_factor_of_two(data, q):
    ordered = sorted(data)
    exact = ordered[max(0, math.ceil(q * len(ordered)) - 1)]
    found = histogram(data).quantile(q)
    assert (exact + 1e-9) / 2 <= found * (1 + 1e-12) + 1e-9
    assert found <= 2 * (exact + 1e-9)
    assert found <= max(data)


@steady
@given(times, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_quantiles_grow(data, one, other):
    found = histogram(data)
    assert found.quantile(min(one, other)) <= found.quantile(max(one, other))


def test_inside_a_bucket_a_quantile_is_proportional():
    found = histogram([1.5] * 4 + [1.9])
    assert found.quantile(0.4) == pytest.approx(1.4)
    assert found.quantile(0.0) == pytest.approx(1.0)
    assert found.quantile(1.0) == 1.9
    assert histogram([1.5, 3.0, 3.0, 3.5]).quantile(0.75) == pytest.approx(2 * (1 + 2 / 3))


@steady
@given(times, times)
def test_merging_is_counting_both(one, other):
    merged, left = histogram(one), histogram(other)
    assert merged.merge(left) is merged
    both = histogram(one + other)
    assert (merged.counts, merged.longest) == (both.counts, both.longest)
    assert merged.total == pytest.approx(both.total)
    assert left.count == len(other)


def test_a_copy_changes_no_more():
    found = histogram([1.0])
    copy = found.copy()
    found.add(5.0)
    assert (copy.count, copy.longest, copy.total) == (1, 1.0, 1.0)


def test_nothing_counted_is_zero():
    found = Histogram()
    assert (found.count, found.mean, found.longest, found.total, found.quantile(0.5), found.buckets) == (
        0,
        0.0,
        0.0,
        0.0,
        0.0,
        [],
    )


def test_zero_falls_into_the_first_bucket_and_not_among_the_seconds():
    assert histogram([0.0]).buckets == [(2.0**-29, 1)]


def test_repr_names_the_numbers():
    assert repr(histogram([1.0, 3.0])) == "<Histogram count=2 mean=2.000000s longest=3.000000s>"


class TestTotals:
    def test_each_borrow_counts_once_whether_out_back_or_gone(self):
        ledger = book(min_size=0, max_size=3)
        back, gone, out = borrowed(ledger, 3, 0.0)
        give_back(ledger, back, 2.0)
        ledger.discard(gone, 5.0, CloseReason.DETACHED)
        stats = ledger.stats()
        assert (stats.borrows, stats.use_time.count, stats.use_time.total) == (3, 2, 7.0)
        give_back(ledger, out, 1.0)
        assert ledger.take(6.0, None) is out
        assert ledger.stats().borrows == 4
        assert ledger.totals.use_time.total == 5.0, "of what is gone"

    def test_only_those_who_stood_in_line_and_were_served_have_waited(self):
        ledger = book(min_size=0, max_size=1)
        [slot] = borrowed(ledger, 1, 0.0)
        gave_up = queued(ledger, 1.0)
        queued(ledger, 2.0)
        ledger.time_out(gave_up, 3.0)
        give_back(ledger, slot, 7.0)
        give_back(ledger, slot, 8.0)
        ledger.take(9.0, None)
        wait = ledger.stats().wait_time
        assert (wait.count, wait.total, wait.longest) == (2, 5.0, 5.0)

    def test_what_was_waited_in_vain_is_waited_too(self):
        ledger = book(min_size=0, max_size=1, fair_after=0)
        [slot] = borrowed(ledger, 1, 0.0)
        gives_up, _served, _standing = queued(ledger, 1.0), queued(ledger, 2.0), queued(ledger, 3.0)
        assert ledger.waited(4.0) == 3 + 2 + 1
        ledger.leave(gives_up, 5.0)
        assert ledger.waited(6.0) == 4 + 4 + 3
        give_back(ledger, slot, 6.0)
        assert ledger.waited(7.0) == 4 + 4 + 4
        ledger.close(8.0)
        assert ledger.waited(9.0) == 4 + 4 + 5
        assert ledger.stats().wait_time.total == 4

    def test_the_wait_for_an_attempt_that_failed_was_in_vain(self):
        ledger = book(min_size=0, max_size=1)
        queued(ledger, 1.0)
        fail(ledger, 4.0)
        assert ledger.waited(5.0) == 3

    def test_opens_failures_and_closes_add_up_to_the_size(self):
        ledger = book(min_size=2, max_size=4)
        slots = borrowed(ledger, 3, 0.0)
        ledger.discard(slots[0], 1.0, CloseReason.DEAD)
        ledger.discard(slots[1], 1.0, CloseReason.DEAD)
        fail(ledger, 1.0)
        ledger.upkeep(9.0)
        [attempt] = todo(ledger, Open)
        ledger.opened(attempt.slot, 9.0, seconds=0.5, jitter=0.0)
        stats = ledger.stats()
        assert stats.opens - sum(stats.closes.values()) == stats.size - stats.opening
        assert stats.closes == {"dead": 2}
        assert (stats.open_failures, stats.open_time.longest) == (1, 0.5)
        assert stats.idle + stats.in_use + stats.opening == stats.size

    def test_a_snapshot_changes_no_more(self):
        ledger = book(min_size=0)
        [slot] = borrowed(ledger, 1)
        before = ledger.stats()
        give_back(ledger, slot, 5.0)
        queued(ledger, 6.0)
        grow(ledger, 6.0)
        assert (before.in_use, before.use_time.count, before.size) == (1, 0, 1)
        after = ledger.stats()
        assert (after.min_size, after.max_size, after.waiting) == (0, 10, 0)


def test_a_quantile_between_two_far_buckets_is_in_the_lower_one():
    times = Histogram()
    times.add(0.1)
    times.add(100.0)
    assert times.quantile(0.5) == 0.125
