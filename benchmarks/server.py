"""The server everything is measured on: embedded, started for the run, over its unix socket."""

from __future__ import annotations

import secrets

from psycopg2 import sql

from dbkit.embedded import EmbeddedPostgres


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
    return server.url(user="bench", password=password, socket=True)
