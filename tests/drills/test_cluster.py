"""Drill 19: a cluster of three nodes under Patroni changes its leader under load: as asked, and by ``kill -9``."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import psycopg2
import pytest

from dbkit.pool.server_checks import READ_ONLY

from ..pool.helpers import Task, eventually
from . import closing
from .closing import SESSIONS
from .cluster import STARTUP, Cluster, Node, cluster
from .conftest import MakeDrill
from .entrants import Params
from .forms import missing, only_long, program
from .load import Load
from .test_promotion import insert, ours
from .test_restart import accepts_at

THREADS = 8
ROUNDS = 5
HELD = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@dataclass(frozen=True)
class Change:
    """How a change of the leader went, in seconds.

    Attributes:
        elected: until the new leader let somebody in who may write.
        first: from then until the pool's first commit.
        outside: from then until the first commit of a client beside the pool, which connects anew for each try.
        held: how many sessions at most the new leader let wait meanwhile, until a standby followed it.
        stale: the pool's commits that the old leader acknowledged after then.
    """

    elected: float
    first: float
    outside: float
    held: int
    stale: int


def commits_at(params: Params) -> Task:
    """Try to commit something from outside; the result is the moment it was acknowledged for the first time."""

    def ask() -> float:
        while True:
            try:
                connection = psycopg2.connect(**{**params, "application_name": "asks", "connect_timeout": 2})
                try:
                    with connection, connection.cursor() as cursor:
                        cursor.execute("INSERT INTO outside VALUES (1)")
                    return monotonic()
                finally:
                    connection.close()
            except psycopg2.Error:
                sleep(0.005)

    return Task(ask)


def change(run: Cluster, load: Load, *, by_force: bool) -> Change:
    """Have another node lead."""
    old = run.leader()
    assert old is not None
    load.goes_on(5)
    others = run.params(without=old)
    began, asks, commits = monotonic(), accepts_at(others), commits_at(others)
    if by_force:
        old.kill()
    else:
        run.switch_over(old)
    accepted = asks.outcome()
    held = held_until(commits, run, others)
    load.goes_on(5)
    first = min(turn.ended for turn in load.turns if turn.end == "ok" and turn.ended >= accepted - 0.05)
    if by_force:
        old.start()
    eventually(run.is_whole, STARTUP)
    no_stale_session(run)
    acknowledged = [turn for turn in load.turns if turn.end == "ok" and turn.ended > accepted]
    stale = sum(turn.port == old.port for turn in acknowledged)
    outside = commits.outcome()
    return Change(accepted - began, max(0.0, first - accepted), max(0.0, outside - accepted), held, stale)


def held_until(commits: Task, run: Cluster, params: dict[str, Any]) -> int:
    """How many sessions at most wait for a standby, until somebody's commit is acknowledged."""
    most = 0
    with suppress(psycopg2.Error):  # a leader that goes again holds nobody
        while commits.is_alive():
            most = max(most, run.execute(HELD, params=params)[0][0])
            sleep(0.05)
    return most


def no_stale_session(run: Cluster) -> None:
    """Every session of the pool is with the leader."""
    leader = run.leader()
    others: list[Node] = [node for node in run.nodes if node is not leader]
    assert [run.execute(SESSIONS, node) for node in others] == [[(0,)], [(0,)]]


@only_long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("strict", (False, True), ids=("synchronous", "strict"))
def test_the_leader_changes(drill: MakeDrill, strict: bool):
    patroni, etcd = (program(name, needed_for="patroni") for name in ("patroni", "etcd"))
    if os.geteuid() != 0:
        missing("patroni", "only root may make the nodes' namespaces")
    case = f"{ROUNDS} switchovers, {ROUNDS} times kill -9 of the leader's node; synchronous mode"
    record = drill(19, "a cluster under Patroni", case + (", strict" if strict else ""))
    with cluster(patroni, etcd, strict=strict) as run:
        entrant = ours(run.params())
        load, stale = Load(entrant, THREADS, insert), 0
        for by_force in (False, True):
            rounds = [change(run, load, by_force=by_force) for _ in range(ROUNDS)]
            what = "kill -9" if by_force else "switchover"
            worst = max(rounds, key=lambda one: one.first)
            record.row(
                f"{entrant.name}, {what}",
                {
                    "new leader after, s": max(one.elected for one in rounds),
                    "first commit then after, s": worst.first,
                    "one from outside then, s": worst.outside,
                    "sessions held for a standby": max(one.held for one in rounds),
                },
            )
            record.aim(f"{what}: first commit after the new leader accepts, s", worst.first, most=1.0)
            late = max(one.first - one.outside for one in rounds)
            record.aim(f"{what}: first commit after one from outside, s", max(0.0, late), most=1.0)
            stale += sum(one.stale for one in rounds)
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
        record.must("commits that the old leader acknowledged after the new one accepts", stale, most=0)
        record.must("commits missing", lost, most=0)
        record.must("written twice", twice, most=0)
        record.must("errors at borrow", ends["borrow"], most=0)
        closing.check(entrant.pool, load=load, execute=run.execute)
        entrant.close()
