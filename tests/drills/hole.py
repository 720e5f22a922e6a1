"""A black hole, from inside: ``python -m tests.drills.hole CASE POOL NETWORK_TIMEOUT BOUND`` in a network of its own.

The server, the pool and a packet filter are in that namespace, which ends with this process; so does all that is in it.
The filter drops what arrives, both ways, and tells nobody: as far as the pool can see, the network is gone. Prints its
figures as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from dbkit.embedded import EmbeddedPostgres
from dbkit.testing.places import memory_folder

from ..pool.helpers import Task, eventually
from . import closing
from .entrants import Entrant, Ours, fill, make_manager, params_of, peers, turn

TIMEOUT: Final = 2.0
"""Seconds a borrower waits."""

CAREFUL: Final = {
    "tcp_keepalives_idle": 1,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 3000,
    "client_connection_check_interval": 1000,
}
"""A server that gives up clients which are gone; by default it keeps their sessions for hours."""


class Network:
    """The way between the pool and the server's port."""

    def __init__(self, port: int) -> None:
        self._port = str(port)

    def fall_silent(self) -> None:
        """From now on every packet is lost."""
        for side in ("--dport", "--sport"):
            subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", side, self._port, "-j", "DROP"], check=True)

    def heal(self) -> None:
        """Packets arrive again."""
        subprocess.run(["iptables", "-F", "INPUT"], check=True)


def seconds_until_told(task: Task, began: float, bound: float) -> float | str:
    """How long until the task failed; or that it did not within the bound."""
    task.join(bound)
    if task.is_alive():
        return f"over {bound:g}"
    assert task.error is not None, "it should have failed"
    return monotonic() - began


def connecting(make: Callable[[], Entrant], server: EmbeddedPostgres, network: Network, bound: float) -> Entrant:
    """Nothing is open yet, and every attempt vanishes."""
    network.fall_silent()
    entrant, began = make(), monotonic()
    figures["told after, s"] = seconds_until_told(Task(turn, entrant), began, bound)
    return entrant


def idle(make: Callable[[], Entrant], server: EmbeddedPostgres, network: Network, bound: float) -> Entrant:
    """A statement is sent on a connection that was idle when the network went."""
    entrant = make()
    fill(entrant)
    network.fall_silent()
    began = monotonic()
    figures["told after, s"] = seconds_until_told(Task(turn, entrant), began, bound)
    return entrant


def query(make: Callable[[], Entrant], server: EmbeddedPostgres, network: Network, bound: float) -> Entrant:
    """The server has acknowledged a statement, and works on it."""
    entrant = make()
    fill(entrant)
    task = Task(turn, entrant, "SELECT pg_sleep(600)")
    eventually(lambda: server.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == [(1,)])
    network.fall_silent()
    began = monotonic()
    figures["told after, s"] = seconds_until_told(task, began, bound)
    return entrant


def healed(entrant: Entrant, bound: float) -> float | str:
    """How long it takes until the pool serves again; or that it does not within the bound."""
    began = monotonic()

    def serves() -> bool:
        try:
            turn(entrant)
        except Exception:
            return False
        return True

    task = Task(eventually, serves, bound)
    task.join(bound)
    return monotonic() - began if task.result else f"over {bound:g}"


CASES: Final = {"connecting": connecting, "idle": idle, "query": query}
figures: dict[str, Any] = {}


def main(case: str, name: str, network_timeout: int, bound: float) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with EmbeddedPostgres.start(settings=CAREFUL, temp_dir=memory_folder()) as server:
        params, network = params_of(server), Network(server.port)
        made: dict[str, Callable[[], Entrant]] = {
            "ElasticPool": lambda: Ours(make_manager({**params, "network_timeout": network_timeout}, timeout=TIMEOUT)),
            **dict(
                zip(("QueuePool", "QueuePool pre_ping", "psycopg_pool"), peers(params, timeout=TIMEOUT), strict=False)
            ),
        }
        entrant = CASES[case](made[name], server, network, bound)
        network.heal()
        figures["healed after, s"] = healed(entrant, bound)
        if isinstance(entrant, Ours) and name == "ElasticPool":
            closing.check(entrant.pool, execute=server.execute)
            entrant.close()
    print(json.dumps(figures), flush=True)
    os._exit(0)  # a peer's threads may hang in the hole for hours


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
