"""``dbkit bench``: advice and plots purely, then short runs against a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from dbkit.cli.bench.points import Point, advise, better, grid, knee_of, wait_quantile
from dbkit.cli.bench.report import plot, svg
from dbkit.core.stats import Histogram

from ..pool.helpers import eventually


def point(size, threads, rate, service=0.001):
    return Point(
        size=size, threads=threads, seconds=2.0, borrows=int(rate * 2), wait_mean=0, wait_p95=0, service=service
    )


POINTS = [point(1, 4, 1000), point(4, 4, 3900), point(4, 16, 3950, 0.00101), point(8, 16, 4000), point(8, 64, 3000)]


def test_the_knee_is_the_smallest_pool_that_is_fast_enough():
    assert knee_of(POINTS) is POINTS[2]


def test_the_quicker_of_two_measurements_counts():
    slow, quick, other = point(1, 1, 10), point(1, 1, 20), point(2, 4, 5)
    assert better([slow, other, quick]) == [quick, other]


def test_without_a_rate_it_is_the_knee_and_littles_law_says_why():
    advice = advise(POINTS, room=97, pools=1, rate=None)
    assert advice.max_size == 4
    assert "3,950 borrows/s with 4 connections" in advice.reasons[0]
    assert "3,950/s x 1 ms" in advice.reasons[1]
    assert "4.0 in use" in advice.reasons[1]


@pytest.mark.parametrize(
    ("rate", "pools", "room", "size", "words"),
    [
        (2000, 1, 97, 5, "2.0 in use, and twice its square root for bursts: 5"),
        (2000, 4, 97, 2, "500/s"),
        (1, 1, 97, 1, "in use"),
        (90000, 10, 97, 4, "does not reach 9,000/s"),
        (2000, 1, 3, 3, "room for 3 connections"),
        (None, 50, 97, 1, "1 for each of 50 pools"),
    ],
)
def test_a_rate_and_the_room_decide(rate, pools, room, size, words):
    advice = advise(POINTS, room=room, pools=pools, rate=rate)
    assert advice.max_size == size
    assert words in " ".join(advice.reasons)


@pytest.mark.parametrize("most", [1, 2, 3, 8, 32, 100])
def test_the_grid_has_each_pool_once_under_each_load(most):
    todo = grid(most)
    assert len(todo) == len(set(todo))
    assert {size for size, _ in todo} == {size for size in (1, 2, 4, 8, 16, 32, 64) if size < most} | {most}
    assert all(threads >= size for size, threads in todo)


def test_waits_are_of_all_borrows():
    waits = Histogram()
    assert wait_quantile(waits, 0, 0.95) == 0
    for _ in range(4):
        waits.add(1.0)
    assert wait_quantile(waits, 100, 0.95) == 0
    assert wait_quantile(waits, 10, 0.95) == 1.0


def test_the_plots_show_each_size():
    assert [line.split()[0] for line in str(plot(POINTS)).splitlines()] == ["max_size", "1", "4", "8"]
    drawn = ET.fromstring(svg(POINTS, advise(POINTS, room=97, pools=1, rate=None), target="<a&b>"))
    names = {"{http://www.w3.org/2000/svg}polyline": 3, "{http://www.w3.org/2000/svg}circle": 5}
    for name, count in names.items():
        assert len(drawn.findall(name)) == count
    assert "<a&b>" in "".join(drawn.itertext())


# ---- a real server


def test_a_run(run, shared_database, tmp_path):
    ran = run("bench", shared_database, "--seconds", 1, "--max-size", 2, "--svg", tmp_path / "b.svg", "--rate", 10)
    assert ran.code == 0, ran.err
    assert "max_size = 1" in ran.out
    assert "Little's law" in ran.out
    rows = [line.split() for line in ran.out.splitlines() if len(line.split()) == 9 and line.split()[0].isdigit()]
    assert len(rows) == len(grid(2))
    ET.fromstring((tmp_path / "b.svg").read_text())


def test_a_mistake_is_told_before_anything_is_measured(run, shared_database):
    ran = run("bench", shared_database, "--sql", "SELEC 1")
    assert (ran.code, ran.out) == (1, "")
    assert "syntax error" in ran.err
    assert run("bench", "postgresql://app:s3cret@localhost:x/d").code == 2


def test_ctrl_c_gives_what_was_measured_so_far(shared_database, admin):
    command = [sys.executable, "-m", "dbkit", "bench", shared_database, "--seconds", "14", "--max-size", "2"]
    seen: set[int] = set()

    def begun(points: int) -> bool:
        rows = admin.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'dbkit bench'")
        seen.update(pid for (pid,) in rows)
        return len(seen) > points  # one session looked before

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: begun(2))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Stopped early" in out
    assert "max_size = " in out
    assert "Traceback" not in err
    eventually(lambda: not admin.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'dbkit bench'"))
