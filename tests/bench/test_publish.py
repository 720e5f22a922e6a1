"""What README, docs/benchmarks.md and the charts say is what the committed results say."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks.contenders import ELASTIC, PSYCOPG, QUEUE
from benchmarks.publish import BEGIN, END, README, RESULTS, MarkersError, between, published, stale
from benchmarks.results import Document, ResultsError, RowResults
from benchmarks.rows import ROWS, query, waves
from benchmarks.summary import readme_part

ROOT = Path(__file__).parents[2]


@pytest.fixture
def document() -> Document:
    return Document.load(ROOT / RESULTS)


def test_readme_report_and_charts_are_up_to_date() -> None:
    assert list(stale(ROOT)) == [], "run: make bench-report"


def test_the_committed_results_have_every_row_with_every_case_more_than_once(document: Document) -> None:
    assert list(document.rows) == [row.name for row in ROWS]
    for row in ROWS:
        found = document.row(row.name)
        assert len(found.runs) >= (1 if document.quick else 3), row.name
        assert len({frozenset(run.numbers) for run in found.runs}) == 1
        assert (found.title, found.notes, found.targets) == (row.title, row.notes, row.targets), row.name


def test_results_name_no_host_and_no_path(document: Document) -> None:
    text = document.dump()
    assert "/tmp" not in text
    assert "/home" not in text
    assert str(ROOT) not in text
    assert set(document.server) >= {"connected over", "scram_iterations", "fsync", "postgresql"}
    assert set(document.machine) >= {"processors", "python", "sqlalchemy", "psycopg2-binary", "psycopg-pool"}


def change(row: RowResults, case: str, quantity: str, value: float) -> None:
    for run in row.runs:
        run.numbers[case][quantity] = value  # type: ignore[index]


def test_another_figure_makes_another_readme_and_another_chart(document: Document) -> None:
    readme = (ROOT / README).read_text(encoding="utf-8")
    before = published(document, readme)
    change(document.row("crowd"), QUEUE, "fairness", 0.4321)
    after = published(document, readme)
    assert {str(path) for path in before if before[path] != after[path]} == {
        "README.md",
        "docs/benchmarks.md",
        "docs/img/fairness.svg",
    }
    assert "0.432" in after[README]


def test_the_readme_says_where_psycopg_pool_is_ahead(document: Document) -> None:
    change(document.row("checkout"), ELASTIC, "time", 5e-6)
    change(document.row("checkout"), PSYCOPG, "time", 2e-6)
    change(document.row("crowd"), ELASTIC, "throughput", 5000)
    change(document.row("crowd"), PSYCOPG, "throughput", 4000)
    [line] = [
        line for line in readme_part(document).splitlines() if line.startswith("psycopg_pool (with its own driver)")
    ]
    assert "borrow and give back, one thread (2.00 µs, ElasticPool 5.00 µs)" in line
    assert "64 threads on 8, SELECT 1: throughput" not in line


def test_the_readme_says_that_a_queuepool_that_keeps_all_reconnects_as_little(document: Document) -> None:
    for case, reconnects in ((waves.OURS, 0), (waves.QUEUE_GIVES_BACK, 80), (waves.QUEUE_KEEPS_ALL, 0)):
        change(document.row("waves"), case, "reconnects", reconnects)
    [line] = [line for line in readme_part(document).splitlines() if line.startswith("| ten waves")]
    assert line.split("|")[2:4] == [" 0 ", " 80 or 0 "]


def test_a_missed_target_is_told(document: Document) -> None:
    change(document.row("query"), query.EXECUTE, "time", 1.0)
    assert f"- query: time, {query.EXECUTE} / {query.PSYCOPG_EXECUTE}" in readme_part(document)


def test_a_quick_run_is_called_one(document: Document) -> None:
    document.quick = True
    assert "do not quote it" in readme_part(document)
    document.quick = False
    assert "do not quote it" not in readme_part(document)


def test_a_row_that_was_not_measured_cannot_be_published(document: Document) -> None:
    del document.rows["think-5ms"]
    with pytest.raises(ResultsError, match="think-5ms was not measured"):
        published(document, (ROOT / README).read_text(encoding="utf-8"))


def test_the_part_goes_between_the_markers_and_nothing_else_changes() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between(text, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert between(between(text, "new"), "new") == between(text, "new")


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}"])
def test_a_readme_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(MarkersError):
        between(text, "new")
