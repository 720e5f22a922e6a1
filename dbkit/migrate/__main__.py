"""``python -m dbkit.migrate init``: a folder for Alembic whose ``env.py`` runs through dbkit's pool."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

TEMPLATE: Final = Path(__file__).parent / "template"

_EXAMPLES: Final = f"""\
examples:
  python -m dbkit.migrate init               migrations/ and alembic.ini
  python -m dbkit.migrate init db/revisions  another folder
  alembic init -t {TEMPLATE} migrations
                                             the same from Alembic's command line

then:
  alembic revision -m "first"                write a revision
  alembic upgrade head                       on the database that DATABASE_URL or DB_* name
  db.migrate()                               the same from a program
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, or 1 if something is in the way (nothing is overwritten)."""
    parser = argparse.ArgumentParser(
        prog="python -m dbkit.migrate",
        description="Set up Alembic to migrate through dbkit's pool.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="init", required=True)
    init = commands.add_parser("init", help="write a folder with env.py, script.py.mako, versions/; and alembic.ini")
    init.add_argument("folder", nargs="?", default="migrations", help="a new or empty folder (default: %(default)s)")
    return _init(parser.parse_args(arguments).folder)


def _init(folder: str) -> int:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    ini = Path("alembic.ini")
    if ini.exists():
        return _refuse(f"{ini.absolute()} exists already. `alembic init -t {TEMPLATE} {folder}` leaves it as it is.")
    try:
        command.init(Config(ini), folder, template=str(TEMPLATE))
    except CommandError as error:
        return _refuse(str(error))
    return 0


def _refuse(reason: str) -> int:
    print(f"dbkit.migrate: {reason}", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
