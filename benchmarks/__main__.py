"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import server
from benchmarks.measure import Bench, Row, runs_of
from benchmarks.report import all_verdicts, facts, summary, table
from benchmarks.results import Document, ResultsError, RowResults
from benchmarks.rows import GROUPS, ROWS, chosen

JSON = Path("build/bench.json")
ORDER = tuple(row.name for row in ROWS)
PACKAGES = ("sqlalchemy", "psycopg2-binary", "psycopg", "psycopg-pool", "dbutils", "asyncpg")


def _minutes(rows: Sequence[Row], quick: int) -> str:
    """What these rows may take, in words."""
    seconds = sum(row.seconds[quick] for row in rows)
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _listed() -> str:
    lines = [f"groups and their rows, and what they may take (in a quick run):  all {_limits(ROWS)}"]
    for name, rows in GROUPS.items():
        lines.append(f"  {name:19}{_limits(rows)}")
        lines += [f"    {row.name:17}{row.title}" for row in rows]
    return "\n".join(lines)


def _limits(rows: Sequence[Row]) -> str:
    return f"{_minutes(rows, 0)} ({_minutes(rows, 1)})"


EXAMPLES = f"""\
examples:
  python -m benchmarks                     everything, into {JSON}
  python -m benchmarks --quick             everything, to see that it works (make bench QUICK=1)
  python -m benchmarks crowds query        these groups or rows; the others stay in the file as they are
  python -m benchmarks --resume            what the file has not yet, or not as many runs of as there should be
  python -m benchmarks --json benchmarks/results/latest.json
                                           what README and docs/benchmarks.md are made from, by make bench-report

{_listed()}

Every row has several runs, each with new pools and new connections, and is written down after each of them. A row that
has reached its time begins no further run: a slow machine gets fewer of them, and --resume does the rest.
Figures are medians over the runs, in brackets the lowest and the highest. Targets are checked and reported; a missed
one is no error. "?" after a verdict: at least one run says otherwise.
"""


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures ElasticPool beside the other pools, in one run on a real server, and checks the targets.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="groups or rows, see below (default: all)")
    parser.add_argument("--quick", action="store_true", help="less of everything (also: QUICK=1 in the environment)")
    parser.add_argument("--json", type=Path, default=JSON, metavar="FILE", help="the results (default: %(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="keep the runs that the file has, and add what is missing")
    how.add_argument("--fresh", action="store_true", help="forget all that the file has")
    arguments = parser.parse_args(given)
    arguments.quick = arguments.quick or os.environ.get("QUICK", "") not in {"", "0"}
    try:
        arguments.rows = chosen(arguments.names)
    except LookupError as error:
        parser.error(f"{error.args[0]}; there are {', '.join([*GROUPS, *(row.name for row in ROWS)])}")
    return arguments


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _load() -> float:
    """Processes that wanted a processor in the last minute, on average: how busy the machine is."""
    return round(os.getloadavg()[0], 2)


STALL = 0.005
"""Seconds. A machine on which one sleep in a hundred ends later than this has no processor to give, for a time."""


def lateness(tries: int = 200) -> float:
    """Seconds by which a sleep of a millisecond ends late, one time in a hundred."""
    late = []
    for _ in range(tries):
        began = time.perf_counter()
        time.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)
    return sorted(late)[tries * 99 // 100]


def _tell_of_stalls() -> None:
    late = lateness()
    print(f"One sleep in a hundred ends {late * 1000:.1f} ms late.", flush=True)
    if late > STALL:
        print(
            "This machine stalls: what threads and processes show here that wait for each other (crowds, think,\n"
            "growth) is the machine's doing. Do not quote it.\n"
        )


class _Progress:
    """One line on the terminal, rewritten; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, what: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{what}")
            sys.stderr.flush()


def begun(path: Path, now: Document, *, fresh: bool) -> Document:
    """The document to complete: the file's, if it was measured as we measure now.

    Raises:
        ResultsError: it was measured otherwise, or is no results; ``--fresh`` starts over.
    """
    if fresh or not path.exists():
        return now
    there = Document.load(path)
    if not there.rows:
        return now
    now.check_same(there)
    return there


def results_of(row: Row, bench: Bench, known: RowResults | None) -> RowResults:
    """What the file has of this row, if its runs are like those to come; else nothing yet."""
    rounds = bench.pick(*row.rounds)
    results = RowResults(row.name, row.title, row.notes, row.quantities, row.targets, rounds)
    if known is not None and (known.title, known.quantities, known.rounds) == (row.title, row.quantities, rounds):
        results.runs, results.took, results.load = known.runs, known.took, known.load
    return results


def _measure(row: Row, bench: Bench, document: Document, path: Path, *, resume: bool) -> None:
    progress = _Progress()
    results = results_of(row, bench, document.rows.get(row.name) if resume else None)
    began = run_began = time.monotonic()
    load = _load()
    try:
        for run in runs_of(row, bench, done=len(results.runs), progress=lambda what: progress(f"{row.name}: {what}")):
            results.runs.append(run)
            results.load.append(load)
            results.took.append(time.monotonic() - run_began)
            document.put(results, ORDER)
            document.save(path)
            run_began, load = time.monotonic(), _load()
    finally:
        progress("")
        if results.runs:
            print(f"{table(results)}\n  [{time.monotonic() - began:.0f} s]\n", flush=True)


def main(given: list[str] | None = None) -> int:
    """Run what was asked for.

    Returns:
        0 whatever the targets say; 1 if the file cannot be completed; 130 after Ctrl-C: every run that ended is kept.
    """
    arguments = _arguments(given)
    interrupted = False
    with server.start_server() as running:
        bench = Bench(server.account(running), arguments.quick)
        document = Document(arguments.quick, _machine(), server.facts(bench.dsn))
        print("\n".join(facts(document)) + "\n", flush=True)
        try:
            document = begun(arguments.json, document, fresh=arguments.fresh)
        except ResultsError as error:
            print(f"{arguments.json}: {error}\nGive another --json, or --fresh to start over.", file=sys.stderr)
            return 1
        _tell_of_stalls()
        before = _load()
        try:
            for row in arguments.rows:
                _measure(row, bench, document, arguments.json, resume=arguments.resume)
        except KeyboardInterrupt:
            interrupted = True
            print("\ninterrupted; --resume completes it")
    print(summary(all_verdicts(document)))
    print(f"Load of the machine: {before} before, {_load()} after, on {document.machine['processors']} processors.")
    _tell_of_stalls()
    print(f"Results: {arguments.json}")
    return 130 if interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before or after the measuring
        sys.exit(130)
