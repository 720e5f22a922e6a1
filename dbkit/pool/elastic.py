"""ElasticPool: a pool that any SQLAlchemy engine can be given. Its constructor, its operations, and its end."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from dbkit.core.holding import tell
from dbkit.core.ledger import Ledger
from dbkit.core.log_fields import fields
from dbkit.core.policy import PoolPolicy, read_flag, show_size
from dbkit.drivers import for_dialect
from dbkit.drivers.base import check_support
from dbkit.errors import Fault, SettingsError
from dbkit.pool.errors import PoolSettingsError, as_sqlalchemy_error
from dbkit.pool.internals import construction_of, creator_of, log_label, logging_name_of, record_of, reset_none
from dbkit.pool.lending import LendingPool, refuse_bad_seconds
from dbkit.pool.queuepool import policy_of
from dbkit.pool.server_checks import watch_for_read_only
from dbkit.pool.slot import stamping
from dbkit.runtime import forks

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.log import _EchoFlagType
    from sqlalchemy.pool import PoolProxiedConnection
    from sqlalchemy.pool.base import _CreatorFnType, _CreatorWRecFnType, _ResetStyleArgType

    from dbkit.core.holding import Holder
    from dbkit.core.matching import Lasting
    from dbkit.events import Observer
    from dbkit.pool.slot import PooledSlot
    from dbkit.runtime.base import Waiter

logger = logging.getLogger("dbkit.pool")

_defaults = PoolPolicy()


class ElasticPool(LendingPool):
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

    _is_asyncio = False

    def __init__(
        self,
        creator: _CreatorFnType | _CreatorWRecFnType,
        min_size: int | None = None,
        max_size: int | None = None,
        timeout: float = _defaults.timeout,
        max_waiting: int | None = _defaults.max_waiting,
        max_idle: float | None = _defaults.max_idle,
        max_lifetime: float | None = _defaults.max_lifetime,
        keepalive: float | None = _defaults.keepalive,
        reconnect_timeout: float = _defaults.reconnect_timeout,
        fair_after: float = _defaults.fair_after,
        leak_after: float | None = _defaults.leak_after,
        require_writer: bool = False,
        reset: Literal["rollback", "discard"] = "rollback",
        observer: Observer | None = None,
        pool_size: int | None = None,
        max_overflow: int | None = None,
        use_lifo: bool = True,
        recycle: int = -1,
        echo: _EchoFlagType = None,
        logging_name: str | None = None,
        reset_on_return: _ResetStyleArgType = True,
        events: list[Any] | None = None,
        dialect: Dialect | None = None,
        pre_ping: bool = False,
        _dispatch: Any = None,
        _lasting: Lasting | None = None,
    ) -> None:
        self._reset = reset
        numbers: dict[str, Any] = {
            "timeout": timeout,
            "max_waiting": max_waiting,
            "max_idle": max_idle,
            "max_lifetime": max_lifetime,
            "keepalive": keepalive,
            "reconnect_timeout": reconnect_timeout,
            "fair_after": fair_after,
            "leak_after": leak_after,
        }
        sizes = {"min_size": min_size, "max_size": max_size}
        numbers |= {name: size for name, size in sizes.items() if size is not None}
        driver = for_dialect(dialect)
        try:
            policy = policy_of(numbers, pool_size, max_overflow, recycle)
            must_write = read_flag("require_writer", require_writer)
            faults = check_support(driver, reset=reset, require_writer=must_write)
            if reset not in ("rollback", "discard"):
                faults = [Fault("reset", "must be 'rollback' or 'discard'", repr(reset))]
            if faults:
                raise SettingsError(faults)
        except SettingsError as error:
            del creator  # it may show a password, and error trackers record locals
            raise PoolSettingsError(error.faults) from None
        super().__init__(
            policy,
            driver=driver,
            observer=observer,
            require_writer=must_write,
            lasting=_lasting,
            creator=creator,
            recycle=recycle,
            echo=echo,
            logging_name=logging_name,
            reset_on_return=reset_on_return,
            events=events,
            dialect=dialect,
            pre_ping=pre_ping,
            _dispatch=_dispatch,
        )
        self._fit_to_keep = self._fitness()
        self._keeps_manners = self._reset_on_return is not reset_none
        simple = self._keeps_manners and self._reset != "discard"
        self._is_untouched = driver.is_untouched if simple else _never
        if must_write:
            watch_for_read_only(dialect)
        forks.start_afresh(self, ElasticPool._after_fork_in_child)

    def _fitness(self) -> Callable[[Any], bool]:
        """The question whether a connection that comes back may be used again."""
        if self._reset == "discard":
            return self.driver.discard_session
        if self._reset_on_return is reset_none:
            return self.driver.is_open  # users that ask for no reset may return open transactions
        return self.driver.is_clean

    # ---- operations

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
        seconds = self.policy.timeout if timeout is None else timeout
        refuse_bad_seconds("timeout", seconds)
        watcher = self._watcher()
        try:
            self._step(lambda ledger: ledger.warm_up(watcher, monotonic()))
            in_time = watcher.wait(seconds)
            if watcher.error is not None:
                raise as_sqlalchemy_error(watcher.error)
            if not in_time:
                self._raise_timeout(watcher.since, seconds)
        finally:
            self._step(lambda ledger: ledger.forget(watcher))

    def resize(self, min_size: int | None = None, max_size: int | None = None) -> None:
        """Change the size of the running pool; None leaves a number as it is.

        A larger pool serves its line at once. A smaller one is over its maximum until enough connections came back: it
        closes idle ones now, and others as they come back.

        Raises:
            SettingsError: the numbers make no sense; nothing was changed.
        """
        given = {"min_size": min_size, "max_size": max_size}
        changes = {name: number for name, number in given.items() if number is not None}

        def step(ledger: Ledger[PooledSlot, Waiter]) -> None:
            policy = replace(self.policy, **changes)
            ledger.resize(policy, monotonic())
            self.policy = policy

        self._step(step)
        self._set_alarm()

    def drain(self) -> None:
        """Replace every connection, without an interruption: idle ones new before old, those out when they come back.

        Returns at once; the replacing goes on in the background. While the server cannot be reached, old ones stay.
        """
        self._step(lambda ledger: ledger.drain(monotonic()))
        self._set_alarm()

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
        return self._wait_for_the_end(Ledger.pause, timeout)

    def resume(self) -> None:
        """Serve the line again."""
        self._step(lambda ledger: ledger.resume(monotonic()))

    # ---- the end

    def dispose(self) -> None:
        """Close what is idle now, and what is out when it comes back. The pool stays usable.

        It opens nothing until the next borrow. A closed pool stays closed, a paused one paused; so does the pool that
        ``engine.dispose()`` makes in its place.
        """
        self._step(lambda ledger: ledger.dispose(monotonic()), close_here=True)
        self.logger.info("Pool disposed. %s", self.status())

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
        holders = self._wait_for_the_end(Ledger.close, timeout)
        if holders:
            more = fields("closed_with_holders", logging_name_of(self), connections=len(holders))
            told = (log_label(self), len(holders), tell(holders))
            logger.warning("%s closed, with %d connections still out:%s", *told, extra=more)
        return holders

    def _wait_for_the_end(
        self, step: Callable[[Ledger[PooledSlot, Waiter], float, Waiter], None], timeout: float
    ) -> tuple[Holder, ...]:
        refuse_bad_seconds("timeout", timeout)
        watcher = self._watcher()
        try:
            self._step(lambda ledger: step(ledger, watcher.since, watcher), close_here=True)
            watcher.wait(timeout)
        finally:  # Ctrl-C included
            self._step(lambda ledger: ledger.forget(watcher), close_here=True)
        return self.holders()

    def _watcher(self) -> Waiter:
        return self._runtime.waiter(monotonic(), self._runtime.who(), None)

    def recreate(self) -> Self:
        """A new, empty pool with everything this one was made with, events included; closed or paused as this one."""
        self.logger.info("Pool recreating")
        fresh = self.__class__(
            creator_of(self),
            **asdict(self.policy),
            require_writer=self.require_writer,
            reset=self._reset,
            observer=self._observer,
            _lasting=self._step(lambda ledger: ledger.lasting()),
            **construction_of(self),
        )
        fresh._go_on_profiling(self)
        return fresh

    # ---- SQLAlchemy's own ways to mark connections

    def _should_wrap_creator(self, creator: _CreatorFnType | _CreatorWRecFnType) -> _CreatorWRecFnType:
        return stamping(super()._should_wrap_creator(creator), creator, self._ref)

    def _invalidate(
        self, connection: PoolProxiedConnection, exception: BaseException | None = None, _checkin: bool = True
    ) -> None:
        """Mark this connection and all that were opened before now: the server went away under one of them."""
        slot = cast("PooledSlot | None", record_of(connection))
        self._step(lambda ledger: ledger.invalidate(slot, monotonic()))
        super()._invalidate(connection, exception, _checkin)

    # ---- for users to see

    def status(self) -> str:
        """One line for people."""
        stats = self.stats()
        return (
            f"ElasticPool {stats.min_size}-{show_size(stats.max_size)}: {stats.size} connections, {stats.idle} idle, "
            f"{stats.in_use} in use, {stats.opening} opening; {stats.waiting} waiting"
        )

    def __repr__(self) -> str:
        if not hasattr(self, "_ledger"):  # an error tracker looks at a constructor that failed
            return f"<{type(self).__name__}, not set up>"
        return f"<{type(self).__name__} {repr(self._ledger)[1:-1]}>"

    def size(self) -> int:
        """The maximum."""
        return self.policy.max_size

    def checkedin(self) -> int:
        """Idle connections."""
        return self.stats().idle

    def checkedout(self) -> int:
        """Connections that are out."""
        return self.stats().in_use

    def overflow(self) -> int:
        """Connections there are less ``size()``, so that ``size() + overflow()`` is what it is with QueuePool."""
        return self.stats().size - self.policy.max_size

    def timeout(self) -> float:
        """Seconds a borrower waits."""
        return self.policy.timeout


def _never(connection: object, state: object) -> bool:
    """In place of ``Driver.is_untouched``, where each connection that comes back needs more."""
    return False
