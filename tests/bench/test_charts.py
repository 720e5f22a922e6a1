"""The charts: well-formed, complete, and true to the numbers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks.charts import draw, fairness, waiting_times
from benchmarks.crowd import QUANTITIES
from benchmarks.figures import curve
from benchmarks.results import RowResults, Run

SVG = "{http://www.w3.org/2000/svg}"
WAITS = {
    "a <b> & 'c'": curve([1e-5] * 99 + [0.5]),
    "other": curve([0.001 * number for number in range(1, 2001)]),
    "one": curve([0.0]),
}


def texts(svg: str) -> list[str]:
    return ["".join(found.itertext()) for found in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_waiting_times_are_well_formed_with_a_line_and_the_longest_wait_for_each_pool() -> None:
    svg = waiting_times(WAITS, "64 threads & more", "5 runs")
    lines = [line.attrib["points"] for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")]
    assert len(lines) == len(WAITS)
    assert "a <b> & 'c': 500 ms" in texts(svg)
    assert "other: 2.00 s" in texts(svg)


def test_a_longer_wait_is_drawn_higher_up_and_stays_within_the_picture() -> None:
    svg = ElementTree.fromstring(waiting_times(WAITS, "", ""))
    height = float(svg.attrib["height"])
    for line in svg.iter(f"{SVG}polyline"):
        heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
        assert heights == sorted(heights, reverse=True)
        assert all(0 < up < height for up in heights)


def test_fairness_draws_a_bar_for_each_thread_as_tall_as_its_share() -> None:
    shares = {"all alike": [1.0] * 4, "one does it all": [4.0, 0.0, 0.0, 0.0]}
    svg = fairness(shares, {"all alike": 1.0, "one does it all": 0.25}, "")
    bars = [float(bar.attrib["height"]) for bar in ElementTree.fromstring(svg).iter(f"{SVG}rect")]
    assert len(bars) == 8
    assert bars[4] == pytest.approx(4 * bars[0])
    assert bars[5:] == [0.0, 0.0, 0.0]
    assert "Jain's index 0.25 (1 is fair)" in texts(svg)


def test_both_are_drawn_from_the_medians_over_the_runs_and_tell_the_figures_of_the_tables() -> None:
    def run(longest: float, index: float) -> Run:
        numbers = {"throughput": 10.0, "longest wait": longest, "median wait": 0.1, "fairness": index}
        return Run({"x": numbers}, {"x": {"waits": [0.1, longest], "shares": [1.0 + index, 1.0 - index]}})

    runs = [run(0.25, 0.5), run(2.0, 0.75), run(0.75, 0.25)]
    drawn = draw(RowResults("crowd", "a crowd", "", QUANTITIES, (), 1, [0.0] * 3, [1.0] * 3, runs))
    assert list(drawn) == ["waiting-times.svg", "fairness.svg"]
    assert "x: 750 ms" in texts(drawn["waiting-times.svg"])
    assert "longest wait, medians of 3 runs" in texts(drawn["waiting-times.svg"])
    assert "Jain's index 0.50 (1 is fair)" in texts(drawn["fairness.svg"])
    assert all("no time between two borrows" in " ".join(texts(svg)) for svg in drawn.values())
