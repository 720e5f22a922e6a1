"""What is published is made from the committed results: ``python -m benchmarks.publish`` (``make bench-report``).

Three things: the README's part between its markers, ``docs/benchmarks.md`` with every row, and the charts. Nothing in
them is typed by hand, and a test compares them with the results. ``--check`` only says what is not up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.charts import draw
from benchmarks.full_report import full_report
from benchmarks.results import Document, ResultsError
from benchmarks.summary import readme_part

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results/latest.json")
README = Path("README.md")
REPORT = Path("docs/benchmarks.md")
IMAGES = Path("docs/img")
BEGIN = "<!-- benchmark: made by `make bench-report`, do not edit -->"
END = "<!-- /benchmark -->"


class MarkersError(Exception):
    """The README has no place for its part."""


def between(text: str, part: str) -> str:
    """The text with this part in place of all that stands between the markers.

    Raises:
        MarkersError: the markers are not there, once each and in their order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in tail:
        raise MarkersError(f"{README} needs one line {BEGIN} and after it one line {END}")
    body = f"{part.strip()}\n" if part.strip() else ""
    return f"{head}{BEGIN}\n{body}{END}{tail}"


def published(document: Document, readme: str) -> dict[Path, str]:
    """Every file that is made from the results, by its path from the root, whole.

    Args:
        document: the results; must have every row.
        readme: the README as it is.

    Raises:
        ResultsError: a row is missing.
        MarkersError: the README has no place for its part.
    """
    charts = draw(document.row("crowd"))
    return {
        README: between(readme, readme_part(document)),
        REPORT: full_report(document),
        **{IMAGES / name: text for name, text in charts.items()},
    }


def stale(root: Path) -> dict[Path, str]:
    """The files that do not say what the committed results say, with the text they should have.

    Raises:
        ResultsError, MarkersError: as ``published``; there may also be no results at all.
    """
    wanted = published(Document.load(root / RESULTS), (root / README).read_text(encoding="utf-8"))
    return {path: text for path, text in wanted.items() if not _says(root / path, text)}


def _says(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main(given: list[str] | None = None) -> int:
    """Bring everything up to date, or say what is not.

    Returns:
        0, or 1 where something is not up to date and ``--check`` was given, or cannot be made.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.publish",
        description=f"Makes the README's figures, {REPORT} and the charts from {RESULTS}.",
    )
    parser.add_argument("--check", action="store_true", help="change nothing; say what is not up to date")
    arguments = parser.parse_args(given)
    try:
        changes = stale(ROOT)
    except (ResultsError, MarkersError) as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in changes.items():
        print(f"{'not up to date' if arguments.check else 'written'}: {path}")
        if not arguments.check:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
    if not changes:
        print("all up to date")
    return 1 if changes and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
