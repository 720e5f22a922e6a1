"""Rounds and cases; the crowd and the burst, on pools of paper; and the command, once, for real."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks import __main__ as command_line
from benchmarks.__main__ import begun, main, results_of
from benchmarks.contenders import Contender
from benchmarks.crowd import nothing, work_for
from benchmarks.measure import TURNS, Bench, Case, Reading, Row, order, runs_of, time_per_call
from benchmarks.results import Document, Quantity, ResultsError, RowResults, Run
from benchmarks.rows import GROUPS, ROWS, burst, chosen, timeouts

ROOT = Path(__file__).parents[2]


def test_every_round_has_another_order_and_each_case_once() -> None:
    names = ["a", "b", "c", "d"]
    orders = [order(names, number) for number in range(len(names))]
    assert all(sorted(found) == names for found in orders)
    assert len({tuple(found) for found in orders}) == len(names)
    assert len({found[0] for found in orders}) > 1


def a_row(read: Callable[[float], float], *, runs: int = 2, rounds: int = 1, seconds: float = 60, **more: Any) -> Row:
    """A row with one case, which reads this number and draws it."""

    @contextmanager
    def cases(_bench: Bench) -> Iterator[Mapping[str, Case]]:
        def case(share: float) -> Reading:
            number = read(share)
            return Reading({"x": number, "bad": number}, {"line": [number]})

        yield {"only": case}

    return Row(
        name="r",
        title="",
        notes="",
        quantities=(Quantity("x", "count"), Quantity("bad", "count", worst=True)),
        targets=(),
        runs=(9, runs),
        rounds=(9, rounds),
        seconds=(60, seconds),
        cases=cases,
        **more,
    )


def runs(row: Row, done: int = 0) -> list[Run]:
    return list(runs_of(row, Bench("", quick=True), done=done, progress=lambda _what: None))


def test_a_run_warms_up_apart_and_its_figure_is_the_median_of_its_rounds_or_the_worst() -> None:
    shares: list[float] = []
    numbers = iter([0, 7, 1, 3, 0, 9, 8, 1])

    def read(share: float) -> float:
        shares.append(share)
        return next(numbers)

    found = runs(a_row(read, rounds=3))
    assert [run.numbers["only"] for run in found] == [{"x": 3, "bad": 7}, {"x": 8, "bad": 9}]
    assert found[0].shapes == {"only": {"line": [3]}}
    assert shares[0] == shares[4] < 1
    assert shares[1:4] == shares[5:] == [1.0, 1.0, 1.0]


def test_a_row_may_do_without_a_warm_up() -> None:
    shares: list[float] = []
    runs(a_row(lambda share: shares.append(share) or 1.0, runs=1, warm_up="never"))
    assert shares == [1.0]


def test_runs_that_are_there_already_are_not_made_again() -> None:
    row = a_row(lambda _share: 1.0, runs=2)
    assert len(runs(row)) == 2
    assert len(runs(row, done=1)) == 1
    assert not runs(row, done=2)


def test_a_row_that_has_had_its_time_begins_no_further_run_but_always_makes_one() -> None:
    assert len(runs(a_row(lambda _share: 1.0, runs=1000, seconds=0.0))) == 1


def test_every_run_sets_up_and_takes_down() -> None:
    events: list[str] = []

    @contextmanager
    def cases(_bench: Bench) -> Iterator[Mapping[str, Case]]:
        events.append("up")
        yield {"only": lambda _share: Reading({"x": 1.0})}
        events.append("down")

    assert len(runs(replace(a_row(lambda _share: 1.0, runs=2), cases=cases))) == 2
    assert events == ["up", "down"] * 2


def test_time_per_call_is_per_call() -> None:
    counts: list[int] = []

    def cycle(count: int) -> None:
        counts.append(count)
        for _ in range(count):
            pass

    read = time_per_call(cycle, seconds=1e-4)
    assert 0 < read(1.0).numbers["time"] < 1e-5
    assert counts[-1] > 10


def test_what_is_to_be_done_before_a_round_is_done_before_each_and_not_timed() -> None:
    events: list[str] = []

    def cycle(count: int) -> None:
        events.append("work")
        for _ in range(count):
            pass

    read = time_per_call(cycle, seconds=1e-5, before=lambda: events.append("before"))
    read(1.0)
    assert events[0] == "before"
    assert events.count("before") == 1
    events.clear()
    read(1.0)
    assert events == ["before", *["work"] * (TURNS + 1)]  # one turn warms up


def test_names_of_rows_are_unique_and_their_targets_can_be_judged() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert {target.quantity for target in row.targets} <= {quantity.name for quantity in row.quantities}


def test_groups_and_rows_can_be_chosen_by_name_and_come_in_their_own_order() -> None:
    assert chosen([]) == ROWS
    assert chosen(["query", "crowd"]) == tuple(row for row in ROWS if row.name in {"crowd", "query"})
    assert chosen(["think"]) == GROUPS["think"]
    assert all(chosen([row.name]) == (row,) for row in ROWS if row.name not in GROUPS)
    with pytest.raises(LookupError, match="nothing"):
        chosen(["nothing"])


def test_all_rows_together_are_bounded_in_time() -> None:
    on_loop = GROUPS["asyncio"]
    on_threads = [row for row in ROWS if row not in on_loop]
    assert sum(row.seconds[0] for row in on_threads) <= 12 * 60
    assert sum(row.seconds[0] for row in on_loop) <= 5 * 60
    assert sum(row.seconds[1] for row in on_threads) <= 120
    assert sum(row.seconds[1] for row in on_loop) <= 70
    assert all(row.runs[0] >= 3 for row in ROWS)


class _Hoard:
    """A pool of paper that serves one thread, and the others only when that thread has ended."""

    def __init__(self) -> None:
        self.served: threading.Thread | None = None
        self.turns = 0
        self.in_line: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def borrow(self) -> object:
        me = threading.current_thread()
        with self._lock:
            self.served = self.served or me
        if self.served is me:
            self.turns += 1
        else:
            self.in_line.add(me)
            self.served.join(60)
        return object()

    def wait_until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.001)


def a_contender(borrow: Callable[[], object]) -> Contender:
    return Contender(borrow, lambda _connection: None, cycle=lambda _count: None, close=lambda: None)


def test_a_crowd_where_one_does_it_all_is_unfair_and_the_others_wait_all_along() -> None:
    hoard = _Hoard()
    waited: list[float] = []

    def end() -> None:
        hoard.wait_until(lambda: len(hoard.in_line) == 3)
        began, turns = time.perf_counter(), hoard.turns
        hoard.wait_until(lambda: hoard.turns > turns + 5)
        waited.append(time.perf_counter() - began)

    reading = work_for(a_contender(hoard.borrow), nothing, threads=4, end=end)
    assert reading.numbers["fairness"] == pytest.approx(0.25)
    assert reading.numbers["longest wait"] >= waited[0]
    assert reading.shapes["shares"] == [4, 0, 0, 0]


def test_a_thread_thinks_between_two_borrows_and_not_while_it_has_a_connection() -> None:
    events: list[str] = []

    def borrow() -> object:
        events.append("borrow")
        return object()

    contender = Contender(borrow, lambda _: events.append("back"), cycle=lambda _count: None, close=lambda: None)
    hoard = _Hoard()
    work_for(
        contender,
        nothing,
        threads=1,
        think=lambda: events.append("think"),
        end=lambda: hoard.wait_until(lambda: events.count("think") > 2),
    )
    assert events[:6] == ["borrow", "back", "think"] * 2


def test_lateness_is_counted_from_the_borrowers_own_timeout() -> None:
    def refuse() -> object:
        time.sleep(0.01)
        raise TimeoutError

    late = timeouts.told_late(a_contender(refuse), borrowers=4, timeout=0.01)
    assert len(late) == 4
    assert min(late) >= 0


def test_a_crowd_of_timeouts_in_which_somebody_is_served_measures_nothing() -> None:
    with pytest.raises(RuntimeError, match="was served"):
        timeouts.told_late(a_contender(object), borrowers=2, timeout=0.01)


def test_an_error_in_the_crowd_ends_it() -> None:
    numbers = itertools.count()

    def borrow() -> object:
        if next(numbers) == 20:
            raise LookupError("no more")
        return object()

    ended = threading.Event()
    with pytest.raises(LookupError, match="no more"):
        work_for(a_contender(borrow), nothing, threads=4, end=lambda: ended.wait(0.1))


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
        timeout=240,
        check=False,
    )


def test_the_command_measures_one_row_and_succeeds_whatever_the_targets_say(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    ended = command("--quick", "statistics", "--json", str(path))
    assert ended.returncode == 0, ended.stderr
    assert "statistics: the statistics' share of a checkout (" in ended.stdout
    assert "connected over unix socket" in ended.stdout
    assert not ended.stderr
    document = Document.load(path)
    assert list(document.rows) == ["statistics"]
    assert len(document.row("statistics").runs) >= 1
    assert document.server["scram_iterations"] == "1"
    assert "password" not in path.read_text()


def test_help_has_examples_and_names_every_row_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--resume" in said
    assert all(row.name in said for row in ROWS)
    assert "think              2 min (16 s)" in said


@pytest.mark.parametrize("arguments", [["nothing"], ["--fresh", "--resume"]])
def test_arguments_that_make_no_sense_are_refused_at_once(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_file_is_completed_unless_it_was_measured_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    there = Document(False, {"processors": 2}, {})
    there.put(RowResults("r", "", "", (), (), 1, [0.0], [0.0], [Run({"only": {}})]), ["r"])
    there.save(path)
    assert list(begun(path, Document(False, {"processors": 2}, {}), fresh=False).rows) == ["r"]
    assert not begun(path, Document(False, {"processors": 2}, {}), fresh=True).rows
    with pytest.raises(ResultsError, match="processors 2 there, 4 now"):
        begun(path, Document(False, {"processors": 4}, {}), fresh=False)


def test_only_runs_that_were_made_alike_are_added_to() -> None:
    row, bench = a_row(lambda _share: 1.0), Bench("", quick=True)
    known = results_of(row, bench, None)
    known.runs, known.took, known.load = [Run({"only": {"x": 1.0}})], [1.0], [0.0]
    assert results_of(row, bench, known).runs == known.runs
    assert not results_of(row, Bench("", quick=False), known).runs  # it has more rounds in a run
    assert not results_of(replace(row, title="other work"), bench, known).runs


def test_a_machine_that_stalls_is_told_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = itertools.count()
    monkeypatch.setattr(command_line.time, "perf_counter", lambda: next(now) * 0.02)
    monkeypatch.setattr(command_line.time, "sleep", lambda seconds: None)
    assert command_line.lateness(10) == pytest.approx(0.019)
    command_line._tell_of_stalls()
    shown = capsys.readouterr()
    assert "ends 19.0 ms late" in shown.out
    assert "Do not quote it" in shown.out
