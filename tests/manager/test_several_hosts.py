"""Several hosts, of which the first says nothing: the second is reached well before a borrower gives up."""

from __future__ import annotations

import socket

from sqlalchemy import make_url

from dbkit import DatabaseConnectionManager


def test_a_mute_first_host_does_not_use_up_a_borrowers_time(shared_database: str) -> None:
    url = make_url(shared_database)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the system accepts for it, and nobody answers
        ports = f"{mute.getsockname()[1]},{url.port}"
        target = {"host": "127.0.0.1,127.0.0.1", "port": ports, "user": url.username, "password": url.password}
        with DatabaseConnectionManager(target | {"database": url.database}, min_size=0, timeout=9) as db:
            assert db.execute_query("SELECT 1").scalar() == 1  # at the 10 s of a single host it would be too late
            assert db.stats().opens == 1
