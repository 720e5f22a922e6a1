"""Drill 6: a server process stops in mid-query, as on a host that is suspended. A deadline frees the caller."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from dbkit import DeadlineExceeded
from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Admin, Task, eventually
from . import closing
from .conftest import MakeDrill
from .entrants import Ours, make_manager, params_of, peers, turn
from .forms import by_form

DEADLINE = 4.0
PATIENCE = 8.0
"""Seconds until we let a peer's server process go on."""

SLEEP = "SELECT pg_sleep(1006)"
"""Nobody else's: other tests leave sessions asleep on this server, too."""
ASLEEP = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query = %s"


def freeze(admin: Admin) -> int:
    """Stop the server process that runs the statement."""
    [[pid]] = eventually(lambda: admin.rows(ASLEEP, SLEEP))
    os.kill(pid, signal.SIGSTOP)
    return int(pid)


def seconds_until_free(work: Callable[[], Any], admin: Admin) -> float | str:
    """How long a caller is kept, in whose statement the server freezes."""
    began, task = time.monotonic(), Task(work)
    pid = freeze(admin)
    try:
        task.join(PATIENCE)
        return f"over {PATIENCE:g}" if task.is_alive() else time.monotonic() - began
    finally:
        admin.rows("SELECT pg_terminate_backend(%s)", pid)
        os.kill(pid, signal.SIGCONT)
        task.join()


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_server_process_is_frozen_in_mid_query(server: EmbeddedPostgres, drill: MakeDrill, driver: str):
    record = drill(6, "a frozen server process", f"deadline of {DEADLINE:g} s; {driver}")
    admin, params = Admin(server.url()), params_of(server)
    ours = Ours(make_manager({**params, "driver": driver}, timeout=10, min_size=0))

    def within_a_deadline() -> None:
        with pytest.raises(DeadlineExceeded), ours.db.deadline(DEADLINE):
            ours.db.execute_query(SLEEP)

    took = seconds_until_free(within_a_deadline, admin)
    record.row(ours.name, {"free after, s": took})
    turn(ours)
    closing.check(ours.pool, execute=admin.rows)
    ours.close()
    for make in by_form(short=[], long=peers({**params, "options": "-c statement_timeout=4000"}, timeout=10)):
        if driver == "psycopg2":
            peer = make()
            record.row(peer.name, {"free after, s": seconds_until_free(lambda: turn(peer, SLEEP), admin)})  # noqa: B023
            peer.close()
    admin.close()
    record.aim("free after, s", took if isinstance(took, float) else PATIENCE, most=DEADLINE * 1.1)
