"""Rounds and cases; the crowd and the burst, on pools of paper; and the command, once, for real."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks.contenders import Contender
from benchmarks.crowd import nothing, work_for
from benchmarks.measure import Bench, Case, Reading, Row, order, run, time_per_call
from benchmarks.report import Quantity
from benchmarks.rows import ROWS, burst

ROOT = Path(__file__).parents[2]


def test_every_round_has_another_order_and_each_case_once() -> None:
    names = ["a", "b", "c", "d"]
    orders = [order(names, number) for number in range(len(names))]
    assert all(sorted(found) == names for found in orders)
    assert len({tuple(found) for found in orders}) == len(names)
    assert len({found[0] for found in orders}) > 1


def test_a_run_warms_up_apart_and_reads_every_round() -> None:
    shares: list[float] = []
    closed: list[bool] = []

    @contextmanager
    def cases(_bench: Bench) -> Iterator[Mapping[str, Case]]:
        def case(share: float) -> Reading:
            shares.append(share)
            return Reading({"x": float(len(shares))}, {"all": [share]})

        yield {"only": case}
        closed.append(True)

    row = Row(
        name="r", title="", notes="", quantities=(Quantity("x", "count"),), targets=(), rounds=(9, 3), cases=cases
    )
    results = run(row, Bench("", quick=True), rounds=None, progress=lambda _what: None)
    assert shares[0] < 1
    assert shares[1:] == [1.0, 1.0, 1.0]
    assert results.samples == {"only": {"x": [2.0, 3.0, 4.0]}}
    assert results.series == {"only": {"all": [1.0, 1.0, 1.0]}}
    assert closed


def test_time_per_call_is_per_call() -> None:
    counts: list[int] = []

    def cycle(count: int) -> None:
        counts.append(count)
        for _ in range(count):
            pass

    read = time_per_call(cycle, seconds=1e-4)
    assert 0 < read(1.0).numbers["time"] < 1e-5
    assert counts[-1] > 10


def test_names_of_rows_are_unique_and_their_targets_can_be_judged() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert {target.quantity for target in row.targets} <= {quantity.name for quantity in row.quantities}


class _Hoard:
    """A pool of paper that serves one thread only; the others get their turn after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._first: int | None = None

    def borrow(self) -> object:
        with self._lock:
            self._first = self._first or threading.get_ident()
        if self._first != threading.get_ident():
            threading.Event().wait(self._seconds)
        return object()


def test_a_crowd_where_one_does_it_all_is_unfair_and_the_others_wait_all_along() -> None:
    contender = Contender(_Hoard(0.3).borrow, lambda _connection: None, cycle=lambda _count: None, close=lambda: None)
    reading = work_for(contender, nothing, threads=4, seconds=0.2)
    assert reading.numbers["fairness"] == pytest.approx(0.25)
    assert reading.numbers["longest wait"] >= 0.29
    assert reading.series["work per thread"][1:] == [0, 0, 0]


def test_an_error_in_the_crowd_ends_it() -> None:
    numbers = itertools.count()

    def borrow() -> object:
        if next(numbers) == 20:
            raise LookupError("no more")
        return object()

    contender = Contender(borrow, lambda _connection: None, cycle=lambda _count: None, close=lambda: None)
    with pytest.raises(LookupError, match="no more"):
        work_for(contender, nothing, threads=4, seconds=0.1)


def test_stranded_is_who_waits_while_one_connection_lies_free() -> None:
    free = burst.free_times(freed=[(0.0, 1), (1.0, 2)], borrowed=[(0.1, 1), (5.0, 2)])
    assert free == [(0.0, 0.1), (1.0, 5.0)]
    assert burst.stranded([(0.0, 0.9)], free, noticed=0.5) == 0  # it lay free too short
    assert burst.stranded([(0.0, 2.0), (0.0, 1.2)], free, noticed=0.5) == 1  # the second left too early to notice
    assert burst.free_times(freed=[(3.0, 1)], borrowed=[]) == [(3.0, float("inf"))]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "QUICK"}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_measures_one_row_and_succeeds_whatever_the_targets_say(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    ended = command("--quick", "--only", "checkout", "--rounds", "1", "--json", str(path))
    assert ended.returncode == 0, ended.stderr
    assert "checkout and return, nobody else (one round)" in ended.stdout
    assert "ElasticPool / QueuePool:" in ended.stdout
    assert not ended.stderr
    written = json.loads(path.read_text())
    assert set(written["rows"]) == {"checkout"}
    assert len(written["rows"]["checkout"]["cases"]["ElasticPool"]["time"]["samples"]) == 1
    assert "password" not in path.read_text()


def test_help_has_examples_and_names_every_row() -> None:
    ended = command("--help")
    assert ended.returncode == 0
    assert "--only crowd" in ended.stdout
    assert all(row.name in ended.stdout for row in ROWS)


@pytest.mark.parametrize("arguments", [("--rounds", "0"), ("--only", "nothing"), ("--charts", "--only", "query")])
def test_arguments_that_make_no_sense_are_refused_at_once(arguments: tuple[str, ...]) -> None:
    ended = command(*arguments)
    assert ended.returncode == 2
    assert "error:" in ended.stderr
