"""The words and tables that the benchmarks make of their results."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.figures import Spread
from benchmarks.report import number, ratio, sentence, spread, summary, table
from benchmarks.results import Quantity, RowResults, Run, Target

OURS = {"time": [1.0, 2.0, 1.0, 1.0], "throughput": [100.0, 100.0, 100.0, 100.0], "lost": [0.0, 0.0, 0.0, 0.0]}
THEIRS = {"time": [2.0, 4.0, 2.0, 1.0], "throughput": [90.0, 80.0, 99.0, 150.0], "lost": [1.0, 2.0, 3.0, 4.0]}
QUANTITIES = (Quantity("time", "seconds"), Quantity("throughput", "per second"), Quantity("lost", "count"))


def results(*targets: Target, rounds: int = 3) -> RowResults:
    runs = [
        Run(
            {
                case: {name: values[number] for name, values in got.items()}
                for case, got in (("ours", OURS), ("theirs", THEIRS))
            }
        )
        for number in range(4)
    ]
    return RowResults("row", "some work", "A note.", QUANTITIES, targets, rounds, [0.5] * 4, [1.0] * 4, runs)


def verdict_on(target: Target) -> Any:
    [verdict] = results(target).verdicts()
    return verdict


def test_a_ratio_is_the_median_over_the_runs_and_at_most_includes_the_bound() -> None:
    verdict = verdict_on(Target(quantity="time", of="ours", to="theirs", at_most=0.5))
    assert (verdict.value.median, verdict.holds) == (0.5, True)
    assert not verdict_on(Target(quantity="time", of="ours", to="theirs", at_most=0.49)).holds


def test_at_least_is_the_other_way_round() -> None:
    assert verdict_on(Target(quantity="time", of="theirs", to="ours", at_least=2.0)).holds
    assert not verdict_on(Target(quantity="time", of="theirs", to="ours", at_least=2.01)).holds


def test_a_verdict_is_sure_only_if_every_run_says_the_same() -> None:
    unsure = verdict_on(Target(quantity="throughput", of="ours", to="theirs", at_least=1.0))
    assert unsure.holds
    assert not unsure.sure
    assert sentence(unsure).startswith("holds? ")
    sure = verdict_on(Target(quantity="throughput", of="ours", to="theirs", at_least=0.5))
    assert sure.sure
    assert sentence(sure).startswith("holds  ")


def test_a_plain_number_has_its_unit_and_a_miss_is_called_one() -> None:
    verdict = verdict_on(Target(quantity="lost", of="theirs", at_most=0.0))
    assert sentence(verdict) == "MISSED  lost, theirs: 2.5 (1-4); at most 0"


def test_a_missed_aim_is_no_missed_target() -> None:
    missed = verdict_on(Target(quantity="time", of="ours", to="theirs", at_most=0.1, aim=True))
    kept = verdict_on(Target(quantity="lost", of="ours", at_most=0.0))
    assert sentence(missed).startswith("short")
    assert summary([missed, kept]) == "1 of 1 targets hold."


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1.0, "at_least": 1.0}])
def test_a_target_has_one_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at_most or at_least"):
        Target(quantity="time", of="ours", **bounds)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0, "seconds", "0 s"),
        (2.5e-7, "seconds", "250 ns"),
        (4.567e-6, "seconds", "4.57 µs"),
        (0.0123, "seconds", "12.3 ms"),
        (3.0, "seconds", "3.00 s"),
        (12345.6, "per second", "12,346/s"),
        (0.125, "index", "0.125"),
        (80.0, "count", "80"),
    ],
)
def test_numbers_are_written_as_people_do(value: float, unit: Any, words: str) -> None:
    assert number(value, unit) == words


@pytest.mark.parametrize(
    ("values", "unit", "words"),
    [
        ([5.2e-6, 5.4e-6, 12e-6], "seconds", "5.40 µs (5.20-12.0)"),
        ([0.9e-3, 1.1e-3, 2.0], "seconds", "1.10 ms (0.900-2,000)"),
        ([80, 80], "count", "80"),
        ([900, 1000, 1100], "per second", "1,000/s (900-1,100)"),
        ([0.9, 0.95, 1.0], "index", "0.950 (0.900-1.000)"),
    ],
)
def test_a_spread_is_written_in_the_unit_of_its_median(values: list[float], unit: Any, words: str) -> None:
    assert spread(Spread.of(values), unit) == words


@pytest.mark.parametrize(("value", "words"), [(0.9234, "0.923"), (13.44, "13.4"), (1 / 57, "1/57.0"), (0.0, "0")])
def test_small_ratios_are_fractions(value: float, words: str) -> None:
    assert ratio(value) == words


def test_the_table_shows_every_case_every_quantity_and_every_verdict() -> None:
    text = table(results(Target(quantity="time", of="ours", to="theirs", at_most=1.0)))
    head, columns, ours, theirs, verdict, note = text.splitlines()
    assert head == "row: some work (4 runs of 3 rounds)"
    assert columns.split() == ["time", "throughput", "lost"]
    assert ours.startswith("  ours    1.00 s (1.00-2.00)")
    assert theirs.split()[0] == "theirs"
    assert verdict.split()[0] == "holds"
    assert note == "  A note."
