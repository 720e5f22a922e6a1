"""The README's part: what a reader wants to know first, the bad with the good. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contenders import ELASTIC, PSYCOPG, QUEUE
from benchmarks.full_report import markdown_table
from benchmarks.report import all_verdicts, number, ratio_spread, spread, summary, word
from benchmarks.results import Document, RowResults
from benchmarks.rows import imports, query, waves
from benchmarks.rows.think import PAUSES, said


@dataclass(frozen=True)
class Line:
    """One line of the comparison: a quantity of a row, and the case that stands for each pool."""

    label: str
    row: str
    quantity: str
    ours: str = ELASTIC
    queue: tuple[str, ...] = (QUEUE,)
    psycopg: str = PSYCOPG
    more_is_better: bool = False


CROWD = "64 threads on 8, SELECT 1"
SERVER = "64 threads on 8, 2 ms of work"
BURST = "100 requests at once, 2 to 10 connections, 50 ms to connect"

LINES = (
    Line("borrow and give back, one thread", "checkout", "time"),
    Line(f"{CROWD}: throughput", "crowd", "throughput", more_is_better=True),
    Line(f"{CROWD}: longest wait", "crowd", "longest wait"),
    Line(f"{CROWD}: Jain's index", "crowd", "fairness", more_is_better=True),
    Line(f"{SERVER}: throughput", "server-time", "throughput", more_is_better=True),
    Line(f"{SERVER}: longest wait", "server-time", "longest wait"),
    Line(f"{BURST}: median", "burst", "median"),
    Line(f"{BURST}: 95th percentile", "burst", "95th percentile"),
    Line(
        "ten waves of ten requests: reconnects",
        "waves",
        "reconnects",
        ours=waves.OURS,
        queue=(waves.QUEUE_GIVES_BACK, waves.QUEUE_KEEPS_ALL),
        psycopg=waves.PSYCOPG_POOL,
    ),
    Line("800 time out at once: the last is told late by", "timeouts", "last"),
    Line(
        "one SELECT 1 in autocommit, rows in hand",
        "query",
        "time",
        ours=query.EXECUTE,
        queue=(query.AUTOCOMMIT,),
        psycopg=query.PSYCOPG_EXECUTE,
    ),
)


def readme_part(document: Document) -> str:
    """All that stands between the README's markers."""
    parts = [_conditions(document), _comparison(document), _notes(document), _starvation(document)]
    parts += [
        "![How long borrowers wait](docs/img/waiting-times.svg)",
        "![Work done by each thread](docs/img/fairness.svg)",
        _ahead(document),
        _targets(document),
    ]
    return "\n\n".join(parts)


def _conditions(document: Document) -> str:
    machine, server = document.machine, document.server
    row = document.row("crowd")
    warning = "**A quick run, to see that everything works; do not quote it.** " if document.quick else ""
    return (
        f"{warning}Medians of {len(row.runs)} runs, in brackets the lowest and the highest; {machine['processors']} "
        f"processors, Python {machine['python']}, SQLAlchemy {machine['sqlalchemy']}, PostgreSQL "
        f"{server['postgresql']} over its {server['connected over']}, `scram_iterations={server['scram_iterations']}`, "
        f"`fsync={server['fsync']}`. psycopg_pool {machine['psycopg-pool']} serves psycopg {machine['psycopg']}, the "
        f"others psycopg2. Every row: [docs/benchmarks.md](docs/benchmarks.md)."
    )


def _comparison(document: Document) -> str:
    lines = [["", "ElasticPool", "QueuePool", "psycopg_pool", "ElasticPool / QueuePool"]]
    for line in LINES:
        row = document.row(line.row)
        unit = row.unit(line.quantity)
        theirs = [spread(row.spread(case, line.quantity), unit) for case in line.queue]
        over = ratio_spread(row.ratio(line.quantity, line.ours, line.queue[0])) if len(theirs) == 1 else ""
        lines.append(
            [
                line.label,
                spread(row.spread(line.ours, line.quantity), unit),
                " or ".join(theirs),
                spread(row.spread(line.psycopg, line.quantity), unit),
                over,
            ]
        )
    return markdown_table(lines)


def _notes(document: Document) -> str:
    keeps = document.row("waves")
    ours, theirs = (keeps.spread(case, "time") for case in (waves.OURS, waves.QUEUE_KEEPS_ALL))
    row = document.row("imports")
    more = ratio_spread(row.ratio("time", imports.OURS, imports.THEIRS))
    return (
        f"The waves: QueuePool with `{waves.QUEUE_GIVES_BACK.removeprefix('QueuePool ')}` or, the second figure, with "
        f"`{waves.QUEUE_KEEPS_ALL.removeprefix('QueuePool ')}`, which keeps all ten and then is as quick "
        f"({number(theirs.median, 'seconds')}, ElasticPool {number(ours.median, 'seconds')}). "
        f"`{imports.OURS}` takes {more} x `{imports.THEIRS}`."
    )


def _starvation(document: Document) -> str:
    pools = (ELASTIC, QUEUE, PSYCOPG)
    lines = [["time between two borrows", *pools]]
    pauses = {"crowd": "none", **{name: said(pause) for name, pause in PAUSES.items()}}
    for name, pause in pauses.items():
        row = document.row(name)
        lines.append([pause, *(_crowd(row, pool) for pool in pools)])
    return (
        "Starvation is a matter of think time. In both charts each thread borrows again as soon as it gave back; only "
        "then do a few of QueuePool's threads do all the work while the others wait for the whole run. An application "
        "that does something else between two borrows does not see that. 64 threads on 8 connections, SELECT 1, "
        "by the time between two borrows: throughput, Jain's index, longest wait:\n\n" + markdown_table(lines)
    )


def _crowd(row: RowResults, pool: str) -> str:
    rate, index, wait = (row.spread(pool, quantity) for quantity in ("throughput", "fairness", "longest wait"))
    return f"{number(rate.median, 'per second')}, {index.median:.2f}, {spread(wait, 'seconds')}"


def _ahead(document: Document) -> str:
    """Where another pool's median is better than ours."""
    places: dict[str, list[str]] = {QUEUE: [], PSYCOPG: []}
    for line in LINES:
        row = document.row(line.row)
        unit = row.unit(line.quantity)
        ours = row.spread(line.ours, line.quantity).median
        for pool, cases in ((QUEUE, line.queue), (PSYCOPG, (line.psycopg,))):
            better = max if line.more_is_better else min
            theirs = better(row.spread(case, line.quantity).median for case in cases)
            if theirs != ours and better(theirs, ours) == theirs:
                places[pool].append(f"{line.label} ({number(theirs, unit)}, ElasticPool {number(ours, unit)})")
    told = [
        f"{pool}{' (with its own driver)' if pool == PSYCOPG else ''} is ahead of ElasticPool in: {'; '.join(where)}."
        for pool, where in places.items()
        if where
    ]
    return "\n".join(told) if told else "In no line of the table is another pool ahead."


def _targets(document: Document) -> str:
    missed = [
        row.name
        for row in document.rows.values()
        if any(word(verdict).startswith("MISSED") for verdict in row.verdicts())
    ]
    told = f"Of what we promise ourselves, {summary(all_verdicts(document))}"
    if not missed:
        return told
    return f"{told} Missed, by how much [docs/benchmarks.md](docs/benchmarks.md) says: {', '.join(missed)}."
