"""Drill 1: an administrator kills every session of the pool, again and again, under load."""

from __future__ import annotations

from time import monotonic

import pytest

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Admin
from . import closing
from .conftest import MakeDrill
from .entrants import NAME, Entrant, Ours, make_manager, params_of, peers
from .forms import by_form
from .load import Load

ROUNDS = by_form(short=3, long=20)


def strike(entrant: Entrant, threads: int, admin: Admin) -> tuple[Load, int]:
    """Kill all sessions so many times; return the load, and how many connections were handed out dead.

    Dead is a connection that somebody asked for and got after its session had ended, and that failed at once.
    """
    load = Load(entrant, threads)
    dead = 0
    for _ in range(ROUNDS):
        load.goes_on()
        ended: dict[int, float] = {}
        for pid in admin.pids(NAME):
            admin.kill(pid)
            ended[pid] = monotonic()
        load.goes_on()
        failed = [turn for turn in load.failures("statement") if turn.pid in ended]
        dead += sum(turn.began >= ended[turn.pid] for turn in failed)
    load.stop()
    return load, dead


@pytest.mark.parametrize("threads", (8, 32))
def test_every_session_is_killed(server: EmbeddedPostgres, drill: MakeDrill, threads: int):
    record = drill(1, "every session is killed", f"{threads} threads on 8 connections, {ROUNDS} rounds")
    admin, params = Admin(server.url()), params_of(server)
    ours = Ours(make_manager(params, timeout=10))
    for make in (lambda: ours, *peers(params, timeout=10)):
        entrant = make()
        load, dead = strike(entrant, threads, admin)
        ends = load.ends()
        figures = {
            "errors at borrow": ends["borrow"],
            "handed out dead": dead,
            "cut off in use": ends["statement"] - dead,
        }
        record.row(entrant.name, figures | {"turns": ends["ok"]})
        if entrant is ours:
            closing.check(ours.pool, load=load, execute=admin.rows)
        entrant.close()
    admin.close()
    record.must("errors at borrow", record.rows[0].figures["errors at borrow"], most=0)
    record.must("handed out dead", record.rows[0].figures["handed out dead"], most=0)
