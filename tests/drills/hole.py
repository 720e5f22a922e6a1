"""A black hole, from inside: ``python -m tests.drills.hole CASE POOL NETWORK_TIMEOUT BOUND`` in a network of its own.

The server, the pool and a packet filter are in that namespace, which ends with this process; so does all that is in it.
The filter drops what arrives, both ways, and tells nobody: as far as the pool can see, the network is gone. Prints its
figures as JSON.

Invariant: the filter is taken down on every way out, SIGTERM and SIGINT included.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

from dbkit.embedded import EmbeddedPostgres
from dbkit.testing.places import memory_folder

from . import closing, silence
from .entrants import Entrant, Ours, make_manager, params_of, peers

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

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Filter:
    """A packet filter between the pool and the server's port. In its block signals are a way out like any other."""

    def __init__(self, port: int) -> None:
        self._port = str(port)

    def __enter__(self) -> Self:
        for number in SIGNALS:
            signal.signal(number, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.heal()

    def fall_silent(self) -> None:
        """From now on every packet is lost."""
        for side in ("--dport", "--sport"):
            subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", side, self._port, "-j", "DROP"], check=True)

    def heal(self) -> None:
        """Packets arrive again."""
        subprocess.run(["iptables", "-F", "INPUT"], check=True)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(case: str, name: str, network_timeout: int, bound: float) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with EmbeddedPostgres.start(settings=CAREFUL, temp_dir=memory_folder()) as server, Filter(server.port) as network:
        params = params_of(server)
        made: dict[str, Callable[[], Entrant]] = {
            "ElasticPool": lambda: Ours(make_manager({**params, "network_timeout": network_timeout}, timeout=TIMEOUT)),
            **dict(
                zip(("QueuePool", "QueuePool pre_ping", "psycopg_pool"), peers(params, timeout=TIMEOUT), strict=False)
            ),
        }
        entrant, figures = silence.run(case, made[name], server, network, bound)
        if isinstance(entrant, Ours) and name == "ElasticPool":
            closing.check(entrant.pool, execute=server.execute)
            entrant.close()
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    code = 1
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
        code = 0
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(code)  # a peer's threads may hang in the hole for hours
