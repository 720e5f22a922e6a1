"""The file of results: it says what was measured, and it can be completed row by row, never mixed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import Document, Quantity, ResultsError, RowResults, Run, Target


def a_row(name: str = "row", *, runs: int = 2) -> RowResults:
    return RowResults(
        name,
        "some work",
        "A note.",
        (Quantity("time", "seconds"), Quantity("lost", "count", worst=True)),
        (Target(quantity="time", of="ours", to="theirs", at_most=1.0),),
        3,
        [0.25] * runs,
        [1.5] * runs,
        [
            Run(
                {"ours": {"time": 1.5e-6 * (number + 1), "lost": 0}, "theirs": {"time": 2.0}},
                {"ours": {"waits": [0.125, 0.5]}},
            )
            for number in range(runs)
        ],
    )


def a_document(*names: str, quick: bool = False, processors: int = 2) -> Document:
    document = Document(quick, {"processors": processors}, {"fsync": "off"})
    for name in names:
        document.put(a_row(name), names)
    return document


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    document = a_document("one", "two")
    document.save(path)
    loaded = Document.load(path)
    assert loaded.dump() == document.dump()
    row = loaded.row("one")
    assert row.values("theirs", "time") == [2.0, 2.0]
    assert row.verdicts() == document.row("one").verdicts()
    assert row.runs[1].shapes["ours"]["waits"] == [0.125, 0.5]
    assert [found.name for found in path.parent.iterdir()] == ["results.json"]


def test_numbers_stand_in_one_line_and_have_four_digits() -> None:
    document = Document(False, {}, {})
    row = a_row()
    row.took = [1.23456, 0.000123456]
    document.put(row, ["row"])
    assert '"took": [1.235, 0.0001235]' in document.dump()


def test_a_row_takes_the_place_of_its_name() -> None:
    document = a_document("b", "c")
    document.put(a_row("a"), ["a", "b", "c"])
    document.put(a_row("b", runs=1), ["a", "b", "c"])
    assert list(document.rows) == ["a", "b", "c"]
    assert len(document.row("b").runs) == 1


def test_results_of_another_machine_or_of_a_quick_run_are_not_mixed() -> None:
    here = a_document("one")
    here.check_same(a_document("two"))
    with pytest.raises(ResultsError, match="processors 4 there, 2 now"):
        here.check_same(a_document("two", processors=4))
    with pytest.raises(ResultsError, match="quick True there, False now"):
        here.check_same(a_document("two", quick=True))


def test_a_row_that_was_not_measured_is_named() -> None:
    with pytest.raises(ResultsError, match="row crowd was not measured: python -m benchmarks crowd"):
        a_document("one").row("crowd")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "is not there"), ("{", "is no JSON"), ('{"machine": {}}', "not of format"), ("[]", "format")],
)
def test_a_file_that_is_no_results_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ResultsError, match=said):
        Document.load(path)
