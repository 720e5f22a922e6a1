"""The benchmarks' arithmetic: quantiles, Jain's index, spreads, ratios, curves."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.figures import Spread, curve, fair_shares, jain, median_curve, quantile, ratios

unhurried = settings(deadline=None, max_examples=50)
numbers = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@unhurried
@given(numbers)
def test_the_half_quantile_is_the_median(values: list[float]) -> None:
    assert quantile(values, 0.5) == pytest.approx(statistics.median(values))


@unhurried
@given(numbers, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_rise_with_the_share_and_stay_within_the_values(
    values: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    slack = 1e-9 * max(values)
    assert min(values) - slack <= quantile(values, low) <= quantile(values, high) + slack <= max(values) + 2 * slack


def test_quantiles_of_nothing_and_beyond_the_ends_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
    with pytest.raises(ValueError, match="share"):
        quantile([1.0], 1.5)


def test_jain() -> None:
    assert jain([5, 5, 5, 5]) == 1
    assert jain([9, 0, 0, 0]) == 0.25
    assert jain([1] * 8 + [0] * 56) == 0.125
    with pytest.raises(ValueError, match="nobody"):
        jain([0, 0])


@unhurried
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=64).filter(any), st.integers(1, 9))
def test_jain_is_between_one_nth_and_one_and_knows_no_unit(work: list[int], factor: int) -> None:
    index = jain(work)
    assert 1 / len(work) - 1e-9 <= index <= 1 + 1e-9
    assert jain([done * factor for done in work]) == pytest.approx(index)


def test_a_spread_is_the_median_the_lowest_and_the_highest() -> None:
    assert Spread.of([4, 1, 3, 2, 5]) == Spread(3, 1, 5, 5)


def test_ratios_pair_the_runs() -> None:
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]  # the second run was ten times slower for both
    assert ratios([0.0, 1.0], [0.0, 0.0]) == [1.0, float("inf")]
    with pytest.raises(ValueError, match="argument 2"):
        ratios([1.0, 2.0], [1.0])


@unhurried
@given(numbers)
def test_a_curve_rises_from_the_lowest_value_to_the_highest(values: list[float]) -> None:
    points = curve(values)
    assert points == sorted(points)
    assert (points[0], points[-1]) == (min(values), max(values))


def test_a_curve_has_a_point_for_each_tenth_of_a_nine() -> None:
    points = curve([float(number) for number in range(1000)])
    assert len(points) == 32  # 0 to 3 nines, and the end
    assert points[10] == 900  # one nine: 90 % stay below
    assert points[20] == 990


def test_the_median_curve_reaches_as_far_as_all_do_and_ends_at_the_median_of_the_ends() -> None:
    assert median_curve([[1, 2, 3, 9], [2, 3, 5], [3, 4, 4, 7]]) == [2, 3, 7]


def test_fair_shares_are_multiples_of_the_mean_the_busiest_first() -> None:
    assert fair_shares([10, 30, 20, 20]) == [1.5, 1.0, 1.0, 0.5]
