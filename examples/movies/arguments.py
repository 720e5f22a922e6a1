"""The command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

COUNT = 86_537

_WHAT = """\
One pool under ORM sessions, plain SQL and migrations: load a shop full of movies, let many threads use it, and see
that every connection comes back. Runs on the server that DB_* or DATABASE_URL name; with none of them set, on an
embedded PostgreSQL that is gone afterwards."""

_EXAMPLES = f"""
examples:
  python -m examples.movies                              {COUNT:,} generated movies, 16 threads, 8 seconds
  python -m examples.movies --movies movies.json         the movies of a file
  python -m examples.movies --count 5000 --seconds 3     a short look
  python -m examples.movies --threads 64 --max-size 5    a long line before a small pool
  python -m examples.movies --async                      200 tasks on an event loop
  DATABASE_URL=postgresql://me@db/shop python -m examples.movies

On a server of yours it adds its tables (movies, users, orders, order_items) and customers called
customerN@movies.example; a second run adds no movie twice. It refuses a database that has such tables already.

exit codes: 0 nothing leaked, 1 something failed, 2 bad arguments or a bad file, 130 interrupted with Ctrl-C
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments, or show what is wrong with them and leave with code 2.

    Returns:
        ``movies``, ``count``, ``as_of``, ``report``, ``threads``, ``on_loop``, ``seconds``, ``min_size``, ``max_size``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.movies",
        description=_WHAT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--movies", metavar="FILE", type=Path, help="load this JSON list of movies instead of generated ones")
    add("--count", metavar="N", type=whole(1), help=f"so many movies (default {COUNT:,}; with --movies, all)")
    add("--as-of", metavar="YEAR", type=whole(1888), help="the year the file was made, by which release years in the "
        "future are told (default: by its dates)")  # fmt: skip
    add("--report", metavar="FILE", type=Path, help="write all that was wrong with the file's records here, as CSV")
    add("--threads", metavar="N", type=whole(1), help="so many at work at once (default 16, or 200 tasks)")
    add("--async", dest="on_loop", action="store_true", help="on an event loop: tasks in place of threads")
    add("--seconds", metavar="S", type=_seconds, default=8.0, help="for so long (default 8)")
    add("--min-size", metavar="N", type=whole(0), help="the pool's minimum (default: DB_MIN_CONN, or 2)")
    add("--max-size", metavar="N", type=whole(1), help="the pool's maximum (default: DB_MAX_CONN, or 10)")
    options = parser.parse_args(arguments)
    if options.movies is None and (options.as_of is not None or options.report is not None):
        parser.error("--as-of and --report are about a file: give --movies FILE")
    if options.threads is None and not options.on_loop:
        options.threads = 16
    return options


def whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers, of so much at least."""

    def read(text: str) -> int:
        number = int(text.replace(",", "")) if text.replace(",", "").isdecimal() else None
        if number is None or number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
        return number

    return read


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number
