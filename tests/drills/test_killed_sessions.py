"""Drill 1: an administrator kills every session of the pool, again and again, while they work and while they rest."""

from __future__ import annotations

from time import monotonic

import pytest

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Admin, eventually
from . import closing
from .conftest import MakeDrill
from .entrants import NAME, Entrant, Ours, make_manager, params_of, peers
from .forms import by_form
from .load import Load

ROUNDS = by_form(short=3, long=20)
THREADS = (8, 32)


def kill_all(admin: Admin) -> set[int]:
    """End every session, and return them when they are gone."""
    pids = admin.pids(NAME)
    for pid in pids:
        admin.rows("SELECT pg_terminate_backend(%s)", pid)
    eventually(lambda: not pids & admin.pids(NAME))
    return pids


def strike(entrant: Entrant, threads: int, admin: Admin) -> tuple[Load, int]:
    """Kill all sessions, while they are used and while they are idle, so many times each.

    Returns the load, and how many connections were handed out dead: asked for after the sessions had ended, got, and
    failed at the first statement.
    """
    load = Load(entrant, threads)
    dead = 0
    for _ in range(ROUNDS):
        load.goes_on()
        kill_all(admin)
        load.goes_on()
        with load.held_up():
            idle = kill_all(admin)
            gone = monotonic()
        load.goes_on()
        dead += sum(turn.pid in idle and turn.began >= gone for turn in load.failures("statement"))
    load.stop()
    return load, dead


@pytest.mark.parametrize("threads", THREADS)
def test_every_session_is_killed(server: EmbeddedPostgres, drill: MakeDrill, threads: int):
    record = drill(1, "every session is killed", f"{threads} threads on 8 connections, {ROUNDS} rounds")
    admin, params = Admin(server.url()), params_of(server)
    ours = Ours(make_manager(params, timeout=10))
    beside = peers(params, timeout=10) if threads == THREADS[0] else by_form(short=[], long=peers(params, timeout=10))
    for make in (lambda: ours, *beside):
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
