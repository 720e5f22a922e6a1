"""Drill 13: an exception may come at any line; no slot is lost, and upkeep goes on.

At every line, one after the other: ``tests/pool/test_interrupted.py``.
"""

from __future__ import annotations

from .conftest import MakeDrill
from .forms import by_form
from .inside import OURS, RUNNING
from .processes import figure, run

HITS = by_form(short=500, long=20_000)
SECONDS = by_form(short=20, long=400)
FOR_PEERS = 30
"""Seconds: their threads soon wait for connections that are lost."""


def test_thrown_at_random(shared_database: str, drill: MakeDrill):
    record = drill(13, "interruption", "thrown at random into 6 threads on 3 connections; ours resizes and drains too")
    for name in RUNNING:
        seconds = SECONDS if name == OURS else FOR_PEERS
        said = run("tests.drills.throwing", name, shared_database, str(HITS), str(seconds), seconds=seconds + 150)
        hits, lost = int(figure("hits", said)), int(figure("lost", said))
        record.row(name, {"hits": hits, "slots lost": lost, "other errors": int(figure("others", said))})
        if name == OURS:
            record.must("slots lost", lost, most=0)
            assert hits > 50, "too few of them hit"
