"""The ground below every drop-in for PostgreSQL: connections that behave as psycopg2's own do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from dbkit.drivers import for_dialect
from dbkit.dropin.loans import Loans
from dbkit.manager import DatabaseConnectionManager
from dbkit.session.connection_state import restore

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings

LEAK_AFTER = 60.0
"""Seconds after which a drop-in's pool reports a connection that nobody gave back, where ``DB_LEAK_AFTER`` does not
say otherwise: code that gives back by hand forgets it, sooner or later."""


def plain_manager(settings: DatabaseSettings) -> DatabaseConnectionManager:
    """A manager for code written for psycopg2: a query returns what psycopg2 alone makes of it.

    SQLAlchemy has each of its connections return ``uuid.UUID`` and dicts where psycopg2 gives text, as its own column
    types expect it; these connections do not, and so are of no use to those. Types that the application registers with
    psycopg2 for all connections (``psycopg2.extras.register_uuid()``) holds here, too. Opens no connection.
    """
    if settings.driver != "psycopg2":
        settings = settings.replace(driver="psycopg2")
    manager = DatabaseConnectionManager(settings, engine_options={"use_native_hstore": False})
    event.listen(manager.engine, "connect", _forget_casters)
    return manager


def _forget_casters(connection: Any, record: object) -> None:
    """Take back what SQLAlchemy has just registered on this one connection."""
    connection.string_types.clear()


def lend_from(manager: DatabaseConnectionManager, label: str) -> Loans:
    """Lends from a manager's pool. A connection that comes back is rolled back, and behaves as it did when it was lent:
    ``autocommit``, ``isolation_level``, ``readonly``, ``deferrable``, ``cursor_factory``, typecasters and encoding."""
    driver = for_dialect(manager.engine.dialect)
    return Loans(manager.pool, label, note=driver.state, tidy=partial(restore, driver))
