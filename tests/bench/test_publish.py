"""What README, docs/benchmarks.md and the charts say is what the committed results say."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psycopg_pool", reason="the peers are in the dependency group 'bench'")
pytest.importorskip("dbutils", reason="the peers are in the dependency group 'bench'")

from benchmarks.contenders import ELASTIC, PSYCOPG, QUEUE
from benchmarks.crowd import SHARES, WAITS
from benchmarks.measure import Row
from benchmarks.publish import BEGIN, END, README, RESULTS, MarkersError, between, published, stale
from benchmarks.results import Document, ResultsError, RowResults, Run
from benchmarks.rows import GROUPS, ROWS, query, waves
from benchmarks.summary import LINES, readme_part

ROOT = Path(__file__).parents[2]


MADE = Path("docs/img/waiting-times.svg"), Path("docs/img/fairness.svg"), Path("docs/benchmarks.md")


def figures(row: Row) -> RowResults:
    """Made-up results of a row: every case that is published or promised something, and the same number for all."""
    cases = {target.of for target in row.targets} | {target.to for target in row.targets if target.to is not None}
    for line in LINES:
        if line.row == row.name:
            cases |= {line.ours, *line.queue, line.psycopg}
    if row in GROUPS["think"]:
        cases |= {ELASTIC, QUEUE, PSYCOPG}
    numbers = {quantity.name: 0.5 for quantity in row.quantities}
    runs = [
        Run(
            {case: dict(numbers) for case in sorted(cases)},
            {case: {WAITS: [0.1, 0.5], SHARES: [1.5, 0.5]} for case in sorted(cases)},
        )
        for _ in range(3)
    ]
    return RowResults(
        row.name, row.title, row.notes, row.quantities, row.targets, row.rounds[0], [0.0] * 3, [1.0] * 3, runs
    )


@pytest.fixture
def document() -> Document:
    machine = {"processors": 2, "python": "3.11", "sqlalchemy": "2.1", "psycopg": "3.3", "psycopg-pool": "3.3"}
    server = {"postgresql": "18", "connected over": "unix socket", "scram_iterations": "1", "fsync": "off"}
    made_up = Document(False, machine, server)
    for row in ROWS:
        made_up.put(figures(row), [row.name for row in ROWS])
    return made_up


@pytest.fixture
def committed() -> Document:
    if not (ROOT / RESULTS).exists():
        pytest.skip(f"nothing is published: python -m benchmarks --json {RESULTS} && make bench-report")
    return Document.load(ROOT / RESULTS)


def test_nothing_is_published_without_results() -> None:
    if not (ROOT / RESULTS).exists():
        readme = (ROOT / README).read_text(encoding="utf-8")
        assert readme == between(readme, "")
        assert not any((ROOT / path).exists() for path in MADE)


def test_readme_report_and_charts_are_up_to_date(committed: Document) -> None:
    assert list(stale(ROOT)) == [], "run: make bench-report"


def test_the_committed_results_have_every_row_with_every_case_more_than_once(committed: Document) -> None:
    assert list(committed.rows) == [row.name for row in ROWS]
    for row in ROWS:
        found = committed.row(row.name)
        assert len(found.runs) >= (1 if committed.quick else 3), row.name
        assert len({frozenset(run.numbers) for run in found.runs}) == 1
        assert (found.title, found.notes, found.targets) == (row.title, row.notes, row.targets), row.name


def test_the_committed_results_name_no_host_and_no_path(committed: Document) -> None:
    text = committed.dump()
    assert "/tmp" not in text
    assert "/home" not in text
    assert str(ROOT) not in text
    assert set(committed.server) >= {"connected over", "scram_iterations", "fsync", "postgresql"}
    assert set(committed.machine) >= {"processors", "python", "sqlalchemy", "psycopg2-binary", "psycopg-pool"}


def change(row: RowResults, case: str, quantity: str, value: float) -> None:
    for run in row.runs:
        run.numbers[case][quantity] = value  # type: ignore[index]


def test_another_figure_makes_another_readme_and_another_chart(document: Document) -> None:
    readme = f"{BEGIN}\n{END}\n"
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
    [line] = [line for line in readme_part(document).splitlines() if line.startswith("Of what we promise ourselves")]
    assert "query" in line.partition("Missed")[2]


def test_a_quick_run_is_called_one(document: Document) -> None:
    document.quick = True
    assert "do not quote it" in readme_part(document)
    document.quick = False
    assert "do not quote it" not in readme_part(document)


def test_a_row_that_was_not_measured_cannot_be_published(document: Document) -> None:
    del document.rows["think-5ms"]
    with pytest.raises(ResultsError, match="think-5ms was not measured"):
        published(document, f"{BEGIN}\n{END}\n")


def test_the_part_goes_between_the_markers_and_nothing_else_changes() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between(text, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert between(between(text, "new"), "new") == between(text, "new")


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}"])
def test_a_readme_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(MarkersError):
        between(text, "new")
