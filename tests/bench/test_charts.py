"""The charts: well-formed, complete, and true to the numbers."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks.charts import draw, fair_shares, fairness, waiting_times
from benchmarks.measure import Results
from benchmarks.rows.crowds import ROWS

SVG = "{http://www.w3.org/2000/svg}"
WAITS = {"a <b> & 'c'": [1e-5] * 99 + [0.5], "other": [0.001 * number for number in range(1, 2001)], "one": [0.0]}


def texts(svg: str) -> list[str]:
    return ["".join(found.itertext()) for found in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_waiting_times_are_well_formed_with_a_line_and_the_longest_wait_for_each_pool() -> None:
    svg = waiting_times(WAITS, "64 threads & more")
    lines = [line.attrib["points"] for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")]
    assert len(lines) == len(WAITS)
    assert "a <b> & 'c': 500 ms" in texts(svg)
    assert "other: 2.00 s" in texts(svg)


def test_a_longer_wait_is_drawn_higher_up_and_stays_within_the_picture() -> None:
    svg = ElementTree.fromstring(waiting_times(WAITS, ""))
    height = float(svg.attrib["height"])
    for line in svg.iter(f"{SVG}polyline"):
        heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
        assert heights == sorted(heights, reverse=True)
        assert all(0 < up < height for up in heights)


def test_fairness_draws_a_bar_for_each_thread_as_tall_as_its_share() -> None:
    svg = fairness({"all alike": [1.0] * 4, "one does it all": [4.0, 0.0, 0.0, 0.0]}, "")
    bars = [float(bar.attrib["height"]) for bar in ElementTree.fromstring(svg).iter(f"{SVG}rect")]
    assert len(bars) == 8
    assert bars[4] == pytest.approx(4 * bars[0])
    assert bars[5:] == [0.0, 0.0, 0.0]
    assert "Jain's index 0.25 (1 is fair)" in texts(svg)


def test_fair_shares_are_the_mean_over_the_rounds_by_rank() -> None:
    assert fair_shares([30, 10, 20, 20], rounds=2) == [1.25, 0.75]


def test_both_are_written(tmp_path: Path) -> None:
    samples = {"x": {"throughput": [1.0, 1.0]}}
    series = {"x": {"waits": [0.1, 0.2], "work per thread": [3.0, 1.0, 2.0, 2.0]}}
    paths = draw(Results(ROWS[0], samples, series), tmp_path / "img")
    assert [path.name for path in paths] == ["waiting-times.svg", "fairness.svg"]
    for path in paths:
        assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
