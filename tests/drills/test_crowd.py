"""Drill 16: far more threads than connections."""

from __future__ import annotations

from .conftest import MakeDrill
from .crowding import EACH, MOST, THREADS
from .inside import OURS, RUNNING
from .processes import figure, run, undisturbed


def test_a_crowd(shared_database: str, drill: MakeDrill):
    record = drill(16, "a crowd", "2,000 threads, 10,000 borrows on 20 connections")
    for name in RUNNING:
        said = run("tests.drills.crowding", "crowd", name, shared_database, seconds=280, environ=undisturbed())
        missing = THREADS * EACH - int(figure("served", said))
        record.row(name, {"not served": missing, "longest wait, s": figure("longest", said)})
        if name == OURS:
            record.must("not served", missing, most=0)


def test_a_crowd_before_a_full_line(shared_database: str, drill: MakeDrill):
    record = drill(16, "a crowd", f"2,000 threads, nothing given back, max_waiting={MOST}")
    record.without("QueuePool", "its line has no limit")
    for name in RUNNING:
        if name.startswith("QueuePool"):
            continue
        said = run("tests.drills.crowding", "refused", name, shared_database, seconds=280, environ=undisturbed())
        told, served = int(figure("told", said)), int(figure("served", said))
        record.row(
            name, {"refused": told, "served in the end": served, "longest until refused, s": figure("longest", said)}
        )
        if name == OURS:
            record.must("neither refused nor served", THREADS - told - served, most=0)
            record.aim("longest until refused, s", figure("longest", said), most=1.0)
