"""``docs/benchmarks.md``: every row, every figure, every verdict, in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report import all_verdicts, cells, claim, how_often, summary, word
from benchmarks.results import Document, RowResults

HEAD = """\
# The benchmark

Made by `make bench-report` from `benchmarks/results/latest.json`; do not edit. `make bench` measures on your own
machine; `python -m benchmarks --help` lists the rows.

A run makes new pools and new connections. In each of its rounds every case runs once, in another order. A figure is the
median over the runs, in brackets the lowest and the highest; a ratio is taken within each run. "?" after a verdict: at
least one run says otherwise than the median. psycopg_pool serves another driver than the others, psycopg 3.
"""


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its head."""
    head, *body = lines
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def conditions(document: Document) -> str:
    """The machine, the server and the connection, as a list."""
    return "\n".join(
        f"- {title}: " + ", ".join(f"{name} {value}" for name, value in known.items())
        for title, known in (("Machine and versions", document.machine), ("Server", document.server))
    )


def full_report(document: Document) -> str:
    """The whole page."""
    parts = [HEAD]
    if document.quick:
        parts.append("**This is a quick run**, made to see that everything works. Do not quote it.\n")
    parts.append(conditions(document) + "\n")
    parts.append(
        "`scram_iterations` is 1, so that a pool that connects often is not charged for the server's password "
        "arithmetic (10 ms a connection by default); this helps the pools that reconnect.\n"
    )
    parts.append(summary(all_verdicts(document)) + "\n")
    return "\n".join([*parts, *(_section(row) for row in document.rows.values())])


def _section(row: RowResults) -> str:
    verdicts = [f"- {word(verdict)}: {claim(verdict)}" for verdict in row.verdicts()]
    load = f"Load of the machine before each run: {min(row.load):g} to {max(row.load):g}."
    said = f"{row.title[0].upper()}{row.title[1:]}; {how_often(row)}."
    parts = [f"## {row.name}\n", said + "\n", markdown_table(cells(row)) + "\n"]
    if verdicts:
        parts.append("\n".join(verdicts) + "\n")
    return "\n".join([*parts, f"{row.notes} {load}".strip() + "\n"])
