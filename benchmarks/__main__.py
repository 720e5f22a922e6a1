"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Results, Row, run
from benchmarks.report import summary, table, verdicts_of, write_json
from benchmarks.rows import ROWS
from benchmarks.server import account, start_server
from dbkit.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]
JSON = Path("build/bench.json")
IMAGES = ROOT / "docs" / "img"

EXAMPLES = f"""\
examples:
  python -m benchmarks                        everything, about seven minutes
  python -m benchmarks --quick                everything, under a minute (make bench QUICK=1)
  python -m benchmarks --only crowd           one row; --only may be given again
  python -m benchmarks --only query --rounds 500
  python -m benchmarks --charts               everything, and draws docs/img/*.svg

rows:
{chr(10).join(f"  {row.name:19}{row.title}" for row in ROWS)}

Targets are checked and reported; a missed one is no error. "?" after a verdict: at least a quarter of the rounds says
otherwise. In brackets: the quartiles.
"""


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures ElasticPool beside the other pools, in one run on a real server, and checks the targets.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="less of everything (also: QUICK=1 in the environment)")
    parser.add_argument(
        "--only", action="append", choices=[row.name for row in ROWS], metavar="ROW", help="only this row, see below"
    )
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help="this many rounds instead of each row's own number"
    )
    parser.add_argument("--json", type=Path, default=JSON, metavar="FILE", help="the results (default: %(default)s)")
    parser.add_argument("--charts", action="store_true", help="draw the README's charts; needs the row 'crowd'")
    arguments = parser.parse_args(given)
    arguments.quick = arguments.quick or os.environ.get("QUICK", "") not in {"", "0"}
    if arguments.charts and arguments.only and "crowd" not in arguments.only:
        parser.error("--charts needs the row 'crowd'")
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _facts(server: EmbeddedPostgres, *, quick: bool) -> dict[str, Any]:
    packages = ("sqlalchemy", "psycopg2-binary", "psycopg", "psycopg-pool", "dbutils")
    return {
        "python": platform.python_version(),
        "postgresql": server.version,
        **{name: version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": _load(),
        "quick": quick,
    }


def _load() -> float:
    """Processes that wanted a processor in the last minute, on average: how busy the machine is."""
    return round(os.getloadavg()[0], 2)


class _Progress:
    """One line on the terminal, rewritten; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, what: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{what}")
            sys.stderr.flush()


def _measure(rows: list[Row], bench: Bench, rounds: int | None, measured: list[Results]) -> None:
    progress = _Progress()
    for row in rows:
        began = time.monotonic()
        try:
            results = run(row, bench, rounds=rounds, progress=progress)
        finally:
            progress("")
        measured.append(results)
        print(f"{table(results)}\n  [{time.monotonic() - began:.0f} s]\n", flush=True)


def main(given: list[str] | None = None) -> int:
    """Run what was asked for.

    Returns:
        0 whatever the targets say; 130 after Ctrl-C, with what was measured until then.
    """
    arguments = _arguments(given)
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    measured: list[Results] = []
    interrupted = False
    with start_server() as server:
        facts = _facts(server, quick=arguments.quick)
        print(", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
        bench = Bench(account(server), arguments.quick)
        try:
            _measure(rows, bench, arguments.rounds, measured)
        except KeyboardInterrupt:
            interrupted = True
            print("\ninterrupted; what was measured until then:")
    facts |= {"load_after": _load(), "interrupted": interrupted}
    write_json(arguments.json, measured, facts)
    print(summary(verdict for results in measured for verdict in verdicts_of(results)))
    before, after, processors = facts["load_before"], facts["load_after"], facts["processors"]
    print(f"Load of the machine: {before} before, {after} after, on {processors} processors.")
    print(f"Results: {arguments.json}")
    if arguments.charts and not interrupted:
        from benchmarks.charts import draw

        crowd = next(results for results in measured if results.row.name == "crowd")
        for path in draw(crowd, IMAGES):
            print(f"Chart: {path.relative_to(ROOT)}")
    return 130 if interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before or after the measuring
        sys.exit(130)
