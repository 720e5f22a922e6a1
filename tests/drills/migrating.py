"""Processes that migrate one database at the same moment: ``python -m tests.drills.migrating HOW URL INI COUNT``."""

from __future__ import annotations

import os
import sys

from alembic import command
from alembic.config import Config

import dbkit.migrate  # before the children are made, so that they really start together
from dbkit import DatabaseConnectionManager

from .entrants import NAME
from .inside import say


def by_dbkit(url: str, ini: str) -> None:
    with DatabaseConnectionManager(url, min_size=0, max_size=2) as db:
        db.migrate(config=ini, timeout=200)
        assert db.stats().in_use == 0


def by_alembic_alone(_: str, ini: str) -> None:
    command.upgrade(Config(ini), "head")


def main(how: str, url: str, ini: str, count: str) -> None:
    work = {"dbkit": by_dbkit, "alembic": by_alembic_alone}[how]
    started, start = os.pipe()
    children = []
    for _ in range(int(count)):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(start)
                os.read(started, 1)  # the end of the pipe: all of them are there
                work(f"{url}?application_name={NAME}", ini)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(start)
    say(failed=sum(os.waitpid(child, 0)[1] != 0 for child in children))


assert dbkit.migrate

if __name__ == "__main__":
    main(*sys.argv[1:])
