"""Drivers behind one adapter: what the pool and the session layer ask of a DB-API connection.

``for_dialect`` chooses one when a pool is made: psycopg2, psycopg 3 and asyncpg have their own, any other gets
``Driver``. A driver's package is imported only where it is chosen.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from dbkit.drivers.base import Driver, DriverMissingError
from dbkit.drivers.generic import ByConnection

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.engine.interfaces import Dialect


def for_dialect(dialect: Dialect | None) -> Driver:
    """The driver of a dialect. After the first time this costs one look-up in a dictionary.

    Args:
        dialect: the pool's or the engine's; None for a pool made without one, where each connection's class tells.
    """
    if dialect is None:
        return _BY_CONNECTION
    name = getattr(dialect, "driver", "of this dialect")  # SQLAlchemy's DefaultDialect names none
    return _by_name(f"{name} (asyncio)" if dialect.is_async else name)


def for_connection(connection: object) -> Driver:
    """The driver that the class of a connection (or of an error) comes from, or a class that it inherits from."""
    return _of_class(type(connection))  # type: ignore[arg-type]  # mypy looks at the hash of its instances


def sqlstate_of(error: BaseException | None) -> str | None:
    """The SQLSTATE of a driver's error, of whatever driver; None where it has none."""
    return None if error is None else for_connection(error).sqlstate(error)


def dbapi_module(name: str) -> ModuleType:
    """Import a driver's own package.

    Args:
        name: ``psycopg2``, ``psycopg`` or ``asyncpg``.

    Raises:
        DriverMissingError: it is not installed, or cannot load libpq.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = "psycopg2-binary" if name == "psycopg2" else f"dbkit-postgres[{name}]"
        reason = str(error).strip().splitlines()[0]
        raise DriverMissingError(
            f"the driver {name} cannot be loaded ({reason}); it comes with: pip install '{package}'"
        ) from error


def connect_failures(name: str) -> tuple[type[BaseException], ...]:
    """The classes of the errors by which a driver tells that a connection attempt failed.

    ``UnicodeDecodeError`` is psycopg2's, where the server's message is in an encoding of its own.
    """
    if name == "asyncpg":
        from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

        return (AsyncAdapt_asyncpg_dbapi.Error,)
    return (dbapi_module(name).Error, UnicodeDecodeError)


@cache
def _by_name(name: str) -> Driver:
    if name == "psycopg2":
        from dbkit.drivers.psycopg2 import Psycopg2Driver

        return Psycopg2Driver(name)
    if name == "psycopg":
        from dbkit.drivers.psycopg import PsycopgDriver

        return PsycopgDriver(name)
    if name == "psycopg (asyncio)":
        from dbkit.drivers.psycopg_asyncio import AsyncPsycopgDriver

        return AsyncPsycopgDriver(name)
    if name == "asyncpg (asyncio)":
        from dbkit.drivers.asyncpg import AsyncpgDriver

        return AsyncpgDriver(name)
    return Driver(name)


@lru_cache
def _of_class(kind: type) -> Driver:
    adapter = next((_ADAPTERS[base.__module__] for base in kind.__mro__ if base.__module__ in _ADAPTERS), None)
    if adapter is not None:
        return _by_name(adapter)
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    known = next((name for name in ("psycopg2", "psycopg") if name in packages), None)
    return _by_name(known or packages[0])


_ADAPTERS = {
    "asyncpg.exceptions._base": "asyncpg (asyncio)",
    "sqlalchemy.dialects.postgresql.asyncpg": "asyncpg (asyncio)",
    "sqlalchemy.dialects.postgresql.psycopg": "psycopg (asyncio)",
}
"""Where the classes are defined by which drivers of event loops are known: SQLAlchemy's adapters, asyncpg's errors."""

_BY_CONNECTION = ByConnection(for_connection)
