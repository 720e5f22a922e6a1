"""Drill 2: the server is stopped under load, is down for a while, and comes back."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from time import monotonic

import psycopg2
import pytest

from dbkit.embedded import EmbeddedPostgres
from dbkit.embedded.postgres import StopMode

from ..pool.helpers import Task
from . import closing
from .conftest import MakeDrill
from .entrants import SIZE, Entrant, Ours, Params, make_manager, params_of, peers
from .forms import by_form
from .load import Load
from .record import Figure

THREADS = 16
BEFORE, AFTER, STEP = 1.0, by_form(short=1.0, long=3.0), 0.1
"""Seconds before the stop and after the start that the picture shows, and of one of its steps."""

DOWNTIMES = by_form(short=(1.5,), long=(2.0, 5.0, 10.0))


@pytest.fixture(scope="module")
def own(memory_folder: str | None) -> Iterator[EmbeddedPostgres]:
    """Return a server that these drills may stop."""
    with EmbeddedPostgres.start(temp_dir=memory_folder) as running:
        yield running


def accepts_at(params: Params, **more: object) -> Task:
    """Ask the server from outside, every few milliseconds; the result is the moment it first lets somebody in."""

    def ask() -> float:
        pause = threading.Event()
        while True:
            try:
                psycopg2.connect(**{**params, "application_name": "asks", "connect_timeout": 2, **more}).close()
            except psycopg2.OperationalError:
                pause.wait(0.005)
            else:
                return monotonic()

    return Task(ask)


def restart(
    server: EmbeddedPostgres, entrant: Entrant, mode: StopMode, down: float
) -> tuple[Load, dict[str, Figure], list[float]]:
    """Restart the server under an entrant's load. Returns the load, its figures, and errors by the step of time."""
    load = Load(entrant, THREADS)
    load.goes_on(20)
    threading.Event().wait(BEFORE)
    before, began = entrant.attempts(), monotonic()
    server.stop(mode)
    stopped = monotonic()
    threading.Event().wait(down)
    asks = accepts_at(params_of(server))
    server.start_again()
    accepted = asks.outcome()
    load.goes_on()
    threading.Event().wait(AFTER)
    load.stop()
    back = load.first_success(since=stopped).ended
    ends = load.ends(since=began - BEFORE)
    steps = [0.0] * math.ceil((BEFORE + down + 2 * AFTER) / STEP)
    for turn in load.failures():
        step = int((turn.ended - began + BEFORE) / STEP)
        if 0 <= step < len(steps):
            steps[step] += 1
    figures: dict[str, Figure] = {
        "errors at borrow": ends["borrow"],
        "cut off in use": ends["statement"] + ends["commit"],
        "connects": entrant.attempts() - before,
        "first success after, s": max(0.0, back - accepted),
        "longest wait, s": load.longest_wait(),
    }
    return load, figures, steps


@pytest.mark.parametrize("mode", ("fast", "immediate"))
@pytest.mark.parametrize("down", DOWNTIMES)
def test_the_server_is_restarted(own: EmbeddedPostgres, drill: MakeDrill, mode: StopMode, down: float):
    record = drill(2, "the server is restarted", f"{mode}, down {down:g} s, {THREADS} threads")
    params = params_of(own)
    ours = Ours(make_manager(params, timeout=30))
    for make in (lambda: ours, *by_form(short=[], long=peers(params, timeout=30))):
        entrant = make()
        load, figures, steps = restart(own, entrant, mode, down)
        record.row(entrant.name, figures)
        record.curves[entrant.name] = steps
        if entrant is ours:
            closing.check(ours.pool, load=load, execute=own.execute)
        entrant.close()
    seen = record.rows[0].figures
    record.aim("first success after the server accepts, s", float(seen["first success after, s"]), most=0.6)
    record.must("errors at borrow", int(seen["errors at borrow"]), most=0)
    # The outage cuts off all at once; from then on one probe at a time, half a second apart; then all are opened again.
    record.must("connects", int(seen["connects"]), most=2 * SIZE + 4 + math.ceil((down + 1) / 0.4))
