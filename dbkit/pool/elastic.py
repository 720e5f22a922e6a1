"""``ElasticPool``: a pool that any SQLAlchemy engine can be given, for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbkit.pool.base import BasePool

if TYPE_CHECKING:
    from dbkit.core.holding import Holder


class ElasticPool(BasePool):
    """A connection pool with a minimum and a maximum, a fair line, hand-off, validation and background upkeep.

    Usable on its own::

        engine = create_engine(url, poolclass=ElasticPool, min_size=2, max_size=10, max_idle=300)

    ``create_engine`` knows ``timeout`` as ``pool_timeout``, ``recycle`` as ``pool_recycle`` and so on, as with
    SQLAlchemy's own pools. An application configured for ``QueuePool`` starts unchanged: see ``pool_size`` below.
    Safe to use from any number of threads. After a fork the child's pool starts empty and leaves the parent's
    connections alone; nothing need be done for that.

    Args:
        creator: opens one DB-API connection; ``create_engine`` makes it.
        min_size, max_size, max_waiting: the pool's counts; see ``PoolPolicy``. ``min_size`` is 2 if it is not given, or
            ``max_size`` where that is less. Text is read as a setting is (``engine_from_config``).
        timeout, max_idle, max_lifetime, keepalive, reconnect_timeout, fair_after, leak_after: its times, in seconds;
            see ``PoolPolicy``. Text is read likewise.
        require_writer: refuse servers that let nobody write. A session is asked when opened and at every ping, and
            SQLSTATE 25006 counts as a lost connection that takes all opened before with it: so after a failover no
            connection to the demoted server survives. For engines that only ever read-write.
        reset: the way a connection that comes back is cleared. ``"rollback"``, the default, is SQLAlchemy's
            ``reset_on_return``; ``"discard"`` adds ``DISCARD ALL``, a round trip, which also clears ``SET``,
            ``SET ROLE``, temporary tables, advisory locks and ``LISTEN``.
        observer: is told of single events; see ``dbkit.events.Observer``.
        pool_size, max_overflow: QueuePool's words, in place of ``max_size``, which is their sum; ``min_size`` is at
            most ``pool_size`` then. ``pool_size=0`` or ``max_overflow=-1`` mean no maximum, as there.
        use_lifo: accepted for QueuePool's sake; the connection given back last is always borrowed first.
        recycle: SQLAlchemy's word for a maximum age in seconds; the smaller of it and ``max_lifetime`` holds.
        echo, logging_name, reset_on_return, events, dialect, pre_ping: as for any SQLAlchemy pool.

    Raises:
        SettingsError: naming every argument that is wrong, or that the dialect's driver cannot do.
    """

    _is_asyncio: ClassVar[bool] = False
    _other_class: ClassVar[str] = "AsyncElasticPool"

    def warm_up(self, timeout: float | None = None) -> None:
        """Open ``min_size`` connections, in parallel, and return when they are there.

        Args:
            timeout: seconds to wait in all; the pool's own ``timeout`` if None.

        Raises:
            SettingsError: ``timeout`` is no number of seconds; nothing was done.
            the driver's error, if a connection attempt fails (``psycopg2.OperationalError``, ...).
            PoolTimeoutError: they were not there in time.
            PoolClosedError: the pool is closed.
        """
        self.open_minimum(timeout)

    def pause(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Let nobody have a connection until ``resume()``, as PgBouncer's PAUSE: borrowers stand in line.

        Args:
            timeout: seconds to wait for connections that are out.

        Returns:
            Those that still hold a connection after that; empty when the pool is quiet. At once, if another thread
            resumes the pool meanwhile.

        Raises:
            SettingsError: ``timeout`` is no number of seconds; nothing was done.
        """
        return self._pause(timeout)

    def close(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Close the pool for good: newcomers and those in line are refused, and what is out is waited for.

        Args:
            timeout: seconds to wait for connections that are out.

        Returns:
            Those that still hold a connection after that; it is closed when it comes back. Empty when all is closed.
            A second call waits again.

        Raises:
            SettingsError: ``timeout`` is no number of seconds; nothing was done.
        """
        return self._close_for_good(timeout)
