"""What a pool may ask of a session on the server: to be clean, and to be able to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg2
from sqlalchemy import event

from dbkit.pool.liveness import fit_to_keep

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

READ_ONLY: Final = "25006"
"""SQLSTATE ``read_only_sql_transaction``."""


def discarded(connection: Any) -> bool:
    """Whether a connection that comes back is fit to keep, after ``DISCARD ALL``: one round trip.

    Clears what a rollback leaves: ``SET``, ``SET ROLE``, temporary tables, advisory locks, ``LISTEN`` and what was
    heard, prepared statements. It also resets what a ``connect`` event set; put that into ``options`` instead.
    The client's encoding stays as the driver knows it.
    """
    if not fit_to_keep(connection):
        return False
    try:
        _in_autocommit(connection, "DISCARD ALL")
        _agree_with_driver(connection)
        connection.notifies.clear()
    except Exception:  # noqa: BLE001 - what cannot be cleaned is not kept
        return False
    return True


def _agree_with_driver(connection: Any) -> None:
    """Put back what psycopg2 set when it connected and goes by since. No round trip unless there is something to do."""
    believed, actual = connection.encoding, connection.get_parameter_status("client_encoding")
    if _plain(believed) != _plain(actual):
        _in_autocommit(connection, f"SET client_encoding TO '{_plain(believed)}'")
    if not connection.get_parameter_status("DateStyle").startswith("ISO"):
        _in_autocommit(connection, "SET DateStyle TO ISO")


def _plain(encoding: str) -> str:
    """An encoding's name as the server compares it."""
    return "".join(filter(str.isalnum, encoding)).upper()


def can_write(connection: Any) -> bool:
    """Whether the server lets this session write: one round trip. A standby, or a demoted primary, does not."""
    return bool(_in_autocommit(connection, "SHOW transaction_read_only") == "off")


def demand_writer(connection: Any) -> None:
    """Refuse a new connection to a server that lets nobody write.

    Raises:
        psycopg2.OperationalError: in libpq's words for ``target_session_attrs=read-write``.
    """
    welcome = False
    try:
        welcome = can_write(connection)
    finally:
        if not welcome:
            connection.close()
    if not welcome:
        raise psycopg2.OperationalError("session is read-only (the pool was made with require_writer)")


def watch_for_read_only(dialect: Any) -> None:
    """Have every SQLSTATE 25006 on an engine whose pool requires a writer treated as a lost connection, which retires
    all that were opened before: so after a failover no connection to the demoted server survives."""
    if dialect is not None and not event.contains(dialect, "handle_error", _on_error):
        event.listen(dialect, "handle_error", _on_error)


def _on_error(context: ExceptionContext) -> None:
    pool = getattr(context.engine, "pool", None)
    if is_about_read_only(pool, context.original_exception) and not _asked_for_read_only(context):
        context.is_disconnect = True


def is_about_read_only(pool: Any, error: BaseException | None) -> bool:
    """Whether the server refused to write, to a pool that requires a writer."""
    return getattr(pool, "require_writer", False) and getattr(error, "pgcode", None) == READ_ONLY


def _asked_for_read_only(context: ExceptionContext) -> bool:
    """Whether the borrower had made his transactions read-only himself (``postgresql_readonly``)."""
    borrowed = context.connection
    if borrowed is None or borrowed.invalidated:
        return False
    return getattr(borrowed.connection.dbapi_connection, "readonly", None) is True


def _in_autocommit(connection: Any, statement: str) -> Any:
    before = connection.autocommit
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        if not connection.closed:
            connection.autocommit = before
