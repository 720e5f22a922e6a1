"""``python -m examples.movies.serve``: the shop on http://127.0.0.1:8000, with the live page of its pool."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from examples.movies.arguments import whole
from examples.movies.command import choose_server, load, migrate, open_database
from examples.movies.intake import take_in
from examples.movies.interrupt import CtrlC
from examples.movies.screen import Screen

_EXAMPLES = """
examples:
  python -m examples.movies.serve                 5,000 generated movies on an embedded PostgreSQL
  python -m examples.movies.serve --port 8080 --max-size 5
  DATABASE_URL=postgresql://me@db/shop python -m examples.movies.serve --count 0

Ctrl-C ends it. It listens on loopback only.
"""


def run(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C; return the exit code."""
    import uvicorn

    from examples.movies.web import make_app

    options = _parse(arguments)
    screen = Screen(sys.stdout)
    with ExitStack() as stack:
        settings = choose_server(options, stack, screen.say)
        db = stack.enter_context(open_database(settings))
        migrate(db, screen.say)
        if options.count:
            with CtrlC() as ctrl_c:
                load(db, take_in(options), screen, ctrl_c)
        token = secrets.token_urlsafe()
        address = f"http://127.0.0.1:{options.port}"
        screen.say()
        screen.say(f"the shop      {address}/docs")
        screen.say(f"its pool      {address}/pool#token={token}")
        screen.say(f"is it ready?  {address}/readyz")
        screen.say("Ctrl-C ends it.")
        uvicorn.run(make_app(db, token=token), host="127.0.0.1", port=options.port, log_level="warning")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.movies.serve",
        description="The shop of movies as a FastAPI application.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", metavar="N", type=whole(1), default=8000, help="the port (default 8000)")
    add("--count", metavar="N", type=whole(0), default=5000, help="so many movies (default 5,000)")
    add("--min-size", metavar="N", type=whole(0), help="the pool's minimum (default: DB_MIN_CONN, or 2)")
    add("--max-size", metavar="N", type=whole(1), help="the pool's maximum (default: DB_MAX_CONN, or 10)")
    parser.set_defaults(movies=None)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
