"""The server everything is measured on: embedded, started for the run, over its unix socket."""

from __future__ import annotations

import secrets
from typing import Any

import psycopg2
from psycopg2 import sql

from dbkit.embedded import EmbeddedPostgres

SHOWN = ("scram_iterations", "fsync", "synchronous_commit", "jit", "max_connections", "shared_buffers")
"""Settings of the server that someone who wants to measure the same must know."""


def start_server() -> EmbeddedPostgres:
    """Start a server with room for every pool's connections. Close it, or use it as a context manager."""
    return EmbeddedPostgres.start(settings={"max_connections": 250, "scram_iterations": 1})


def account(server: EmbeddedPostgres) -> str:
    """Make an account to measure with, and return the URL to connect with it. It holds the password.

    Its password costs next to nothing to check. By default client and server compute ten milliseconds for each connect,
    and a pool that opens eight at once on a small machine would be measured by that; the row about slow connects says
    itself how slow they are.
    """
    password = secrets.token_urlsafe(12)
    statement = sql.SQL("CREATE ROLE bench LOGIN PASSWORD {}").format(sql.Literal(password))
    server.execute(statement)
    server.execute("GRANT CREATE ON SCHEMA public TO bench")  # for the row that fills a table
    return server.url(user="bench", password=password, socket=True)


def facts(dsn: str) -> dict[str, Any]:
    """How the server is reached and set, as it says itself."""
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT inet_client_addr() IS NULL")
            over = "unix socket" if cursor.fetchone() == (True,) else "TCP, loopback"
            cursor.execute("SELECT name, current_setting(name) FROM unnest(%s) AS name", (list(SHOWN),))
            values = dict(cursor.fetchall())
        version = connection.info.parameter_status("server_version")
        encrypted = "TLS" if connection.info.ssl_in_use else "none"
    finally:
        connection.close()
    return {"postgresql": version, "connected over": over, "encryption": encrypted, **values}
