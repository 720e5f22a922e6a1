"""Errors of failed connection attempts, as the drivers raise them."""

from __future__ import annotations

import psycopg2

AT = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
AT_OTHER = 'connection to server at "db2" (10.0.0.2), port 5432 failed: '
ON_SOCKET = 'connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: '
NOT_REACHED = "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n"
NO_HOST = 'could not translate host name "pg-0" to address: Name or service not known\n'
WRONG = 'FATAL:  password authentication failed for user "u"\n'
NO_ENTRY = 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption\n'
STARTING = "FATAL:  the database system is starting up\n"
FULL = "FATAL:  sorry, too many clients already\n"
CACHED = "server login has been failing, cached error: "


def said(text: str) -> psycopg2.OperationalError:
    """What psycopg2 raises: libpq's text, and no SQLSTATE."""
    return psycopg2.OperationalError(text)


def fatal(text: str) -> psycopg2.OperationalError:
    """The same, for an answer of the server's."""
    return said(f"{AT}FATAL:  {text}\n")


def code(state: str, text: str = "") -> Exception:
    """An error that has a SQLSTATE, as asyncpg's have."""
    return type("PostgresError", (Exception,), {"sqlstate": state})(text)
