"""Drill 19: a cluster of three nodes under Patroni changes its leader under load: as asked, and by ``kill -9``."""

from __future__ import annotations

import os
from time import monotonic

import pytest

from dbkit.pool.server_checks import READ_ONLY

from ..pool.helpers import eventually
from . import closing
from .closing import SESSIONS
from .cluster import STARTUP, Cluster, Node, cluster
from .conftest import MakeDrill
from .forms import missing, only_long, program
from .load import Load
from .test_promotion import insert, ours
from .test_restart import accepts_at

THREADS = 8
ROUNDS = 5


def change(run: Cluster, load: Load, *, by_force: bool) -> tuple[float, float]:
    """Have another node lead. Returns the seconds until it accepted, and from then until the first commit."""
    old = run.leader()
    assert old is not None
    load.goes_on(5)
    began, asks = monotonic(), accepts_at(run.params(without=old))
    if by_force:
        old.kill()
    else:
        run.switch_over(old)
    accepted = asks.outcome()
    load.goes_on(5)
    first = min(turn.ended for turn in load.turns if turn.end == "ok" and turn.ended >= accepted - 0.05)
    if by_force:
        old.start()
    eventually(run.is_whole, STARTUP)
    no_stale_writer(run)
    return accepted - began, max(0.0, first - accepted)


def no_stale_writer(run: Cluster) -> None:
    """Every session of the pool is with the leader."""
    leader = run.leader()
    others: list[Node] = [node for node in run.nodes if node is not leader]
    assert [run.execute(SESSIONS, node) for node in others] == [[(0,)], [(0,)]]


@only_long
@pytest.mark.timeout(1200)
def test_the_leader_changes(drill: MakeDrill):
    patroni, etcd = (program(name, needed_for="patroni") for name in ("patroni", "etcd"))
    if os.geteuid() != 0:
        missing("patroni", "only root may make the nodes' namespaces")
    record = drill(19, "a cluster under Patroni", f"{ROUNDS} switchovers, {ROUNDS} times kill -9 of the leader's node")
    with cluster(patroni, etcd) as run:
        entrant = ours(run.params())
        load = Load(entrant, THREADS, insert)
        for by_force in (False, True):
            rounds = [change(run, load, by_force=by_force) for _ in range(ROUNDS)]
            what = "kill -9" if by_force else "switchover"
            elected, first = (max(times) for times in zip(*rounds, strict=True))
            record.row(f"{entrant.name}, {what}", {"new leader after, s": elected, "first commit then after, s": first})
            record.aim(f"{what}: first commit after the new leader accepts, s", first, most=1.0)
        load.stop()
        written = [number for (number,) in run.execute("SELECT n FROM written")]
        acknowledged = {turn.number for turn in load.turns if turn.end == "ok"}
        ends = load.ends()
        lost, twice = len(acknowledged - set(written)), len(written) - len(set(written))
        figures = {
            "commits": ends["ok"],
            "errors at borrow": ends["borrow"],
            "cut off in use": ends["statement"] + ends["commit"],
            "outcome unknown": len(load.unknown_commits()),
            "refused as read-only": sum(turn.code == READ_ONLY for turn in load.failures()),
        }
        record.row(entrant.name, figures)
        record.must("commits missing", lost, most=0)
        record.must("written twice", twice, most=0)
        record.must("errors at borrow", ends["borrow"], most=0)
        closing.check(entrant.pool, load=load, execute=run.execute)
        entrant.close()
