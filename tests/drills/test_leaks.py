"""Drill 12: connections that a program forgot to give back come back by themselves."""

from __future__ import annotations

from .conftest import MakeDrill
from .entrants import SIZE
from .inside import OURS, RUNNING
from .processes import figure, run

WAYS = {
    "cycle": "in cycles",
    "thread": "by dying threads",
    "generator": "by abandoned generators",
    "storm": "in a storm",
}


def test_nobody_gives_back(shared_database: str, drill: MakeDrill):
    record = drill(12, "leaks", f"40 leaks of each kind, 200 in a storm of collections, on {SIZE} connections")
    for name in RUNNING:
        said = run("tests.drills.leaking", name, shared_database, seconds=200)
        record.row(name, {f"lost {how}": int(figure(way, said)) for way, how in WAYS.items()})
        if name == OURS:
            for what, count in record.rows[0].figures.items():
                record.must(what, float(count), most=0)
