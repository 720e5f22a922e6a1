"""``docs/reliability.md`` and its picture, made from the committed figures: ``python -m tests.drills.report``.

With ``--take`` the figures of the last run (``build/drills``) become the committed ones first; ``--check`` only says
what is not up to date. Nothing in the page is typed by hand but its introduction, which stands here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.charts import errors_over_time

from .record import FOLDER, Drill, read, show

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = Path("docs/drills")
PAGE = Path("docs/reliability.md")
PICTURE = Path("docs/img/errors-during-a-restart.svg")
DRAWN = 2
"""The drill that is drawn: a restart."""

INTRODUCTION = """\
# What happens on the worst day

Each drill breaks something real: PostgreSQL servers that are killed, stopped, demoted or promoted, networks that lose
every packet, PgBouncer restarted, a cluster that changes its leader, processes that fork, leak, are interrupted or end.
QueuePool (plain and with `pre_ping`) and psycopg_pool run them beside ours, each with eight connections and set up as
its own documents say; where one does not run, the reason stands there.
This page is made from the figures of the last run by `make drills-report`.

    make drills              # the short form, also part of `make test`
    make drills LONG=1       # all rounds; the peers of drills 6 and 11 to 18 run in this form only

A drill that needs a program of the system (PgBouncer; `ip`, `iptables` and root for a network of its own; Patroni and
etcd) is skipped with the reason where it is missing. `DBKIT_DRILLS_REQUIRE=pgbouncer,netns,patroni` makes that a
failure. The black hole is also a proxy that stops forwarding, which needs nothing of the system. There the kernel still
acknowledges what is sent, so it is not `network_timeout` that ends a wait, but the borrower's deadline.

In Patroni's *strict* synchronous mode a new leader acknowledges nothing until a standby follows it, and that takes
seconds. A client from outside, which connects anew for each try, stands beside the pool there.

After each drill ours is checked: `in_use` is 0 and `size` at most `max_size`, the server has no more sessions of the
pool than that, every waiter was answered, and nobody waited past its deadline by more than 10 % (and 0.25 s, in which a
busy machine may let a thread sleep on).

No drill may show a password of its servers: log records of every logger from DEBUG on, errors with the locals of
dbkit's frames, `repr` of every object of dbkit's, what is printed, and faulthandler's dump are searched for it, in the
drills' process and in all Python processes that they start.

- **Errors at borrow**: no connection was had.
- **Handed out dead**: a connection that had died before it was asked for.
- **Cut off in use**: the connection died under a statement or a commit. No pool can prevent that.
"""


def page(drills: Sequence[Drill]) -> str:
    """The whole page."""
    missed = [(drill, target) for drill in drills for target in drill.targets if not target.held]
    count = sum(len(drill.targets) for drill in drills)
    parts = [INTRODUCTION]
    parts.append(f"Of {count} targets {count - len(missed)} were held" + (", and these missed:\n" if missed else ".\n"))
    parts += [f"- drill {drill.number}, {drill.case or drill.title}: {target}" for drill, target in missed]
    parts.append("" if not missed else "\n")
    if any(drill.curves for drill in drills if drill.number == DRAWN):
        parts.append(f"![Errors seen by callers during a restart](img/{PICTURE.name})\n")
    for (number, title), of_it in groupby(drills, key=lambda drill: (drill.number, drill.title)):
        parts.append(f"## {number}. {title[0].upper()}{title[1:]}\n")
        for drill in of_it:
            parts.append(f"{drill.case or drill.title} ({drill.form} form):\n")
            parts += _table(drill)
            parts += [f"- {pool}: not run; {reason}" for pool, reason in drill.absent.items()]
            parts += [f"- {target}{'' if not target.held else ' (held)'}" for target in drill.targets]
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _table(drill: Drill) -> Iterable[str]:
    names = list(dict.fromkeys(name for row in drill.rows for name in row.figures))
    if not names:
        return
    yield "| | " + " | ".join(names) + " |"
    yield "|---|" + "---:|" * len(names)
    for row in drill.rows:
        yield (
            f"| {row.pool} | "
            + " | ".join(show(row.figures[name]) if name in row.figures else "" for name in names)
            + " |"
        )
    yield ""


def made(drills: Sequence[Drill]) -> Mapping[Path, str]:
    """Every file that is made from the figures, by its path from the root."""
    files = {PAGE: page(drills)}
    drawn = [drill for drill in drills if drill.number == DRAWN and len(drill.curves) > 1]
    if drawn:
        longest = max(drawn, key=lambda drill: len(next(iter(drill.curves.values()))))
        files[PICTURE] = errors_over_time(longest.curves, longest.case)
    return files


def committed() -> list[Drill]:
    """The committed figures, in the order of the page."""
    return sorted(
        (read(file) for file in (ROOT / COMMITTED).glob("*.json")),
        key=lambda drill: (drill.number, drill.title, drill.case, drill.rows[0].pool if drill.rows else ""),
    )


def take() -> None:
    """Make the figures of the last run the committed ones; those of drills that did not run stay."""
    (ROOT / COMMITTED).mkdir(parents=True, exist_ok=True)
    for file in FOLDER.glob("*.json"):
        shutil.copy(file, ROOT / COMMITTED / file.name)


def stale() -> list[Path]:
    """The files that do not say what the committed figures say."""
    return [
        path
        for path, text in made(committed()).items()
        if not (ROOT / path).exists() or (ROOT / path).read_text() != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.report", description=__doc__)
    parser.add_argument("--take", action="store_true", help="commit to the figures of the last run")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    chosen = parser.parse_args(arguments)
    if chosen.take:
        take()
    if chosen.check:
        old = stale()
        print(json.dumps([str(path) for path in old]))
        return 1 if old else 0
    for path, text in made(committed()).items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
