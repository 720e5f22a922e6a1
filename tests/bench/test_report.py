"""What the benchmarks say about what they measured."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks.measure import Results, Row
from benchmarks.report import Quantity, Target, judge, number, ratio, sentence, summary, table, verdicts_of, write_json

SAMPLES = {
    "ours": {"time": [1.0, 2.0, 1.0, 1.0], "throughput": [100.0, 100.0, 100.0, 100.0], "lost": [0.0, 0.0, 0.0, 0.0]},
    "theirs": {"time": [2.0, 4.0, 2.0, 1.0], "throughput": [90.0, 80.0, 99.0, 150.0], "lost": [1.0, 2.0, 3.0, 4.0]},
}
QUANTITIES = (Quantity("time", "seconds"), Quantity("throughput", "per second"), Quantity("lost", "count"))


def results(*targets: Target) -> Results:
    row = Row(
        name="row",
        title="some work",
        notes="A note.",
        quantities=QUANTITIES,
        targets=targets,
        rounds=(4, 4),
        cases=lambda _bench: nullcontext({}),
    )
    return Results(row, {case: {k: list(v) for k, v in got.items()} for case, got in SAMPLES.items()}, {})


def test_a_ratio_is_the_median_of_the_rounds_and_at_most_includes_the_bound() -> None:
    verdict = judge(Target(quantity="time", of="ours", to="theirs", at_most=0.5), SAMPLES)
    assert (verdict.value.median, verdict.holds) == (0.5, True)
    assert not judge(Target(quantity="time", of="ours", to="theirs", at_most=0.49), SAMPLES).holds


def test_at_least_is_the_other_way_round() -> None:
    target = Target(quantity="time", of="theirs", to="ours", at_least=2.0)
    assert judge(target, SAMPLES).holds
    assert not judge(Target(quantity="time", of="theirs", to="ours", at_least=2.01), SAMPLES).holds


def test_a_verdict_is_sure_only_if_the_quartiles_agree() -> None:
    unsure = judge(Target(quantity="throughput", of="ours", to="theirs", at_least=1.0), SAMPLES)
    assert unsure.holds
    assert not unsure.sure
    assert sentence(unsure, "per second").startswith("holds? ")
    sure = judge(Target(quantity="throughput", of="ours", to="theirs", at_least=0.5), SAMPLES)
    assert sure.sure
    assert sentence(sure, "per second").startswith("holds  ")


def test_a_plain_number_has_its_unit_and_a_miss_is_called_one() -> None:
    verdict = judge(Target(quantity="lost", of="theirs", at_most=0.0), SAMPLES)
    assert sentence(verdict, "count") == "MISSED  lost, theirs: 2.5 (1.75 to 3.25); at most 0"


def test_a_missed_aim_is_no_missed_target() -> None:
    missed = judge(Target(quantity="time", of="ours", to="theirs", at_most=0.1, aim=True), SAMPLES)
    kept = judge(Target(quantity="lost", of="ours", at_most=0.0), SAMPLES)
    assert sentence(missed, "seconds").startswith("short")
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


@pytest.mark.parametrize(("value", "words"), [(0.9234, "0.923"), (13.44, "13.4"), (1 / 57, "1/57.0"), (0.0, "0")])
def test_small_ratios_are_fractions(value: float, words: str) -> None:
    assert ratio(value) == words


def test_the_table_shows_every_case_every_quantity_and_every_verdict() -> None:
    text = table(results(Target(quantity="time", of="ours", to="theirs", at_most=1.0)))
    head, columns, ours, theirs, verdict, note = text.splitlines()
    assert head == "row: some work (4 rounds)"
    assert columns.split() == ["time", "throughput", "lost"]
    assert ours.startswith("  ours    1.00 s (1.00 s to 1.25 s)")
    assert theirs.split()[0] == "theirs"
    assert verdict.split()[0] == "holds"
    assert note == "  A note."


def test_the_json_holds_every_sample_and_every_verdict(tmp_path: Path) -> None:
    found = results(Target(quantity="time", of="ours", to="theirs", at_most=0.1))
    path = tmp_path / "new" / "bench.json"
    write_json(path, [found], {"processors": 2})
    written = json.loads(path.read_text())
    row = written["rows"]["row"]
    assert written["machine"] == {"processors": 2}
    assert row["cases"]["theirs"]["lost"]["samples"] == [1.0, 2.0, 3.0, 4.0]
    assert row["units"] == {"time": "seconds", "throughput": "per second", "lost": "count"}
    [target] = row["targets"]
    assert (target["at_most"], target["holds"], target["value"]["median"]) == (0.1, False, 0.5)
    assert not verdicts_of(found)[0].holds
