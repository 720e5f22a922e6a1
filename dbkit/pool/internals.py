"""Every private name of SQLAlchemy that the pool reads, in one place: look here first when a new SQLAlchemy comes out.

Each function says which name it reads and what for. Public equivalents do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.pool.base import _AsyncConnDialect as AsyncStandIn
from sqlalchemy.pool.base import _ConnectionRecord as ConnectionRecord
from sqlalchemy.pool.base import reset_commit, reset_none, reset_rollback

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect
    from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

__all__ = [
    "AsyncStandIn",
    "ConnectionRecord",
    "construction_of",
    "creator_of",
    "dialect_of",
    "forget_first_connect",
    "log_label",
    "logging_name_of",
    "ping",
    "record_of",
    "reset_commit",
    "reset_none",
    "reset_rollback",
]


def construction_of(pool: Pool) -> dict[str, Any]:
    """The arguments of ``sqlalchemy.pool.Pool`` that a copy of this pool is made with; all but the creator."""
    return {
        "recycle": pool._recycle,
        "echo": pool.echo,
        "logging_name": pool._orig_logging_name,
        "reset_on_return": pool._reset_on_return,
        "dialect": pool._dialect,
        "pre_ping": pool._pre_ping,
        "_dispatch": pool.dispatch,
    }


def creator_of(pool: Pool) -> Callable[..., Any]:
    """The creator that the pool was given."""
    return cast("Callable[..., Any]", pool._creator)


def dialect_of(pool: Pool) -> Dialect:
    """The dialect, or SQLAlchemy's stand-in for one where the pool was made without."""
    return cast("Dialect", pool._dialect)


def logging_name_of(pool: Pool) -> str | None:
    """The pool's name, from ``pool_logging_name``; None if it has none."""
    return pool._orig_logging_name or None


def log_label(pool: Pool) -> str:
    """The pool's name in log lines: that of ``pool_logging_name``, if there is one."""
    name = logging_name_of(pool)
    return f"pool {name}" if name else "pool"


def ping(dialect: Dialect, connection: Any) -> bool:
    """One round trip in the dialect's own way, its ``handle_error`` events included.

    Raises:
        NotImplementedError: it is the stand-in of a pool that was made without a dialect.
        any error of the driver.
    """
    return bool(dialect._do_ping_w_event(connection))


def record_of(connection: PoolProxiedConnection) -> ConnectionPoolEntry | None:
    """The record of a connection that is out; None for a detached one."""
    return getattr(connection, "_connection_record", None)


def forget_first_connect(pool: Pool) -> None:
    """In a forked child: the parent's first connection attempt may have held the lock of the ``connect`` event."""
    listeners: Any = pool.dispatch.connect
    if hasattr(listeners, "_exec_once_mutex"):
        listeners._exec_once_mutex = None
