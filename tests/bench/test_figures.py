"""The benchmarks' arithmetic: quantiles, Jain's index, ratios, what counts as stranded, and the order of rounds."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Spread, jain, quantile, ratios

numbers = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(numbers)
def test_the_half_quantile_is_the_median(values: list[float]) -> None:
    assert quantile(values, 0.5) == pytest.approx(statistics.median(values))


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


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=64).filter(any), st.integers(1, 9))
def test_jain_is_between_one_nth_and_one_and_knows_no_unit(work: list[int], factor: int) -> None:
    index = jain(work)
    assert 1 / len(work) - 1e-9 <= index <= 1 + 1e-9
    assert jain([done * factor for done in work]) == pytest.approx(index)


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert Spread.of([4, 1, 3, 2, 5]) == Spread(3, 2, 4, 5)


def test_ratios_pair_the_rounds() -> None:
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]  # the second round was ten times slower for both
    assert ratios([0.0, 1.0], [0.0, 0.0]) == [1.0, float("inf")]
    with pytest.raises(ValueError, match="argument 2"):
        ratios([1.0, 2.0], [1.0])
