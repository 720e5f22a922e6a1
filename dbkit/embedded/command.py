"""``python -m dbkit.embedded``: a server in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from dbkit.embedded.postgres import EmbeddedPostgres
from dbkit.errors import EmbeddedServerError

EXAMPLES = """\
examples:
  python -m dbkit.embedded
      a temporary server on a free port; gone after Ctrl-C
  python -m dbkit.embedded --folder var/postgres --port 5433 --database movies
      a server whose data stays in var/postgres for the next time
  python -m dbkit.embedded --set max_connections=200 --set log_statement=all
      with settings of the server
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    made = argparse.ArgumentParser(
        prog="python -m dbkit.embedded",
        description="Run a real PostgreSQL in the foreground, print its URL, and stop it on Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", help="keep the data in this folder; default: a temporary one")
    made.add_argument("--port", type=int, help="the port on 127.0.0.1; default: a free one")
    made.add_argument("--user", help="the superuser's name; default: postgres")
    made.add_argument("--database", help="make this database if it is not there, and print its URL")
    made.add_argument("--socket", action="store_true", help="print the URL of the unix socket instead")
    made.add_argument("--binaries", metavar="FOLDER", help="the folder that holds initdb and postgres")
    made.add_argument(
        "--set", dest="settings", metavar="NAME=VALUE", action="append", default=[], help="a server setting; repeatable"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code: 0 after Ctrl-C or SIGTERM, 1 when the server cannot be run or ended by itself.
    """
    commands = parser()
    chosen = commands.parse_args(argv)
    settings = {}
    for text in chosen.settings:
        name, equals, value = text.partition("=")
        if not equals:
            commands.error(f"--set {text}: write it as NAME=VALUE")
        settings[name] = value
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        with EmbeddedPostgres.start(
            chosen.folder, port=chosen.port, user=chosen.user, binaries=chosen.binaries, settings=settings
        ) as server:
            database = chosen.database or "postgres"
            if not server.execute("SELECT FROM pg_database WHERE datname = %s", [database]):
                server.create_database(database)
            sys.stdout.write(f"{server.url(database, socket=chosen.socket)}\n")
            sys.stdout.flush()
            sys.stderr.write(f"PostgreSQL {server.version}, data and log in {server.folder}. Ctrl-C stops it.\n")
            while server.running:
                time.sleep(0.5)
            sys.stderr.write("the server ended by itself; the end of its log:\n" + server.log_tail() + "\n")
    except EmbeddedServerError as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 0
    return 1
