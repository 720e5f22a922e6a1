"""``require_writer``: which servers a pool refuses, and what it makes of a server that stops taking writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event

from dbkit.drivers import for_dialect

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import Dialect

    from dbkit.drivers.base import Driver

READ_ONLY: Final = "25006"
"""SQLSTATE ``read_only_sql_transaction``."""


def demand_writer(driver: Driver, connection: Any) -> None:
    """Refuse a new connection to a server that lets nobody write: one round trip. A refused connection is closed.

    Raises:
        the driver's ``OperationalError``: in libpq's words for ``target_session_attrs=read-write``.
    """
    welcome = False
    try:
        welcome = driver.is_writer(connection)
    finally:
        if not welcome:
            connection.close()
    if not welcome:
        raise driver.error_for_read_only(connection)


def watch_for_read_only(dialect: Dialect | None) -> None:
    """Treat every SQLSTATE 25006 on this dialect's engine as a lost connection, which retires all connections that were
    opened before: so after a failover no connection to the demoted server survives."""
    if dialect is not None and not event.contains(dialect, "handle_error", _on_error):
        event.listen(dialect, "handle_error", _on_error)


def _on_error(context: ExceptionContext) -> None:
    borrowed = context.connection
    if borrowed is None or borrowed.invalidated:
        return
    if is_demoted(context.dialect, borrowed.connection.dbapi_connection, context.original_exception):
        context.is_disconnect = True


def is_demoted(dialect: Dialect, connection: Any, error: BaseException | None) -> bool:
    """Whether an error says that the server takes no writes, to an engine whose pool requires a writer.

    A borrower that made its own transactions read-only is told so by the same SQLSTATE, which means nothing here.
    """
    if not event.contains(dialect, "handle_error", _on_error):
        return False
    driver = for_dialect(dialect)
    return driver.sqlstate(error) == READ_ONLY and not driver.asked_for_read_only(connection)
