"""ElasticPool: a pool that any SQLAlchemy engine can be given. Its constructor, its operations, and its end."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy.pool.base import reset_none

from dbkit.core.ledger import Ledger
from dbkit.core.policy import PoolPolicy
from dbkit.errors import Fault, SettingsError
from dbkit.pool.holders import tell
from dbkit.pool.lending import LendingPool
from dbkit.pool.liveness import fit_to_keep, is_open
from dbkit.pool.queuepool import sizes_from_queuepool
from dbkit.pool.server_checks import discarded, watch_for_read_only
from dbkit.pool.slot import stamping
from dbkit.runtime.forks import survive_forks
from dbkit.runtime.threads import ThreadWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.log import _EchoFlagType
    from sqlalchemy.pool import PoolProxiedConnection
    from sqlalchemy.pool.base import _CreatorFnType, _CreatorWRecFnType, _ResetStyleArgType

    from dbkit.events import Observer
    from dbkit.pool.holders import Holder
    from dbkit.pool.slot import PooledSlot

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
        min_size, max_size, timeout, max_waiting, max_idle, max_lifetime, keepalive, reconnect_timeout, fair_after,
            leak_after: the pool's numbers, all times in seconds; see ``PoolPolicy``. ``min_size`` is 2 if it is not
            given, or ``max_size`` where that is less.
        require_writer: refuse servers that let nobody write. A session is asked when opened and at every ping, and
            SQLSTATE 25006 counts as a lost connection that takes all opened before with it: so after a failover no
            connection to the demoted server survives. For engines that only ever read-write.
        reset: what clears a connection that comes back. ``"rollback"``, the default, is SQLAlchemy's
            ``reset_on_return``; ``"discard"`` adds ``DISCARD ALL``, a round trip, which also clears ``SET``,
            ``SET ROLE``, temporary tables, advisory locks and ``LISTEN``.
        observer: is told of single events; see ``dbkit.events.Observer``.
        pool_size, max_overflow: QueuePool's words: ``max_size`` is their sum, and ``min_size`` at most ``pool_size``.
            ``pool_size=0`` or ``max_overflow=-1`` mean no maximum, as there.
        use_lifo: accepted for QueuePool's sake; the connection given back last is always borrowed first.
        recycle: SQLAlchemy's word for a maximum age in seconds; the smaller of it and ``max_lifetime`` holds.
        echo, logging_name, reset_on_return, events, dialect, pre_ping: as for any SQLAlchemy pool.

    Raises:
        SettingsError: naming every number that is wrong.
    """

    _is_asyncio = False

    def __init__(
        self,
        creator: _CreatorFnType | _CreatorWRecFnType,
        min_size: int | None = None,
        max_size: int = _defaults.max_size,
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
    ) -> None:
        if pool_size is not None or max_overflow is not None:
            min_size, max_size = sizes_from_queuepool(min_size, max_size, pool_size, max_overflow)
        if recycle > 0:
            max_lifetime = recycle if max_lifetime is None else min(recycle, max_lifetime)
        if reset not in ("rollback", "discard"):
            raise SettingsError([Fault("reset", "must be 'rollback' or 'discard'", repr(reset))])
        self._reset = reset
        policy = PoolPolicy.of(
            **({} if min_size is None else {"min_size": min_size}),
            max_size=max_size,
            timeout=timeout,
            max_waiting=max_waiting,
            max_idle=max_idle,
            max_lifetime=max_lifetime,
            keepalive=keepalive,
            reconnect_timeout=reconnect_timeout,
            fair_after=fair_after,
            leak_after=leak_after,
        )
        super().__init__(
            policy,
            observer=observer,
            require_writer=require_writer,
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
        if require_writer:
            watch_for_read_only(dialect)
        survive_forks(self)

    def _fitness(self) -> Callable[[Any], bool]:
        """What tells of a connection that comes back whether it may be used again."""
        if self._reset == "discard":
            return discarded
        if self._reset_on_return is reset_none:
            return is_open  # whoever asked for no reset may return open transactions
        return fit_to_keep

    # ---- operations

    def warm_up(self, timeout: float | None = None) -> None:
        """Open ``min_size`` connections, in parallel, and return when they are there.

        Args:
            timeout: seconds to wait in all; the pool's own ``timeout`` if None.

        Raises:
            the driver's error, if a connect fails (``psycopg2.OperationalError``, ...).
            PoolTimeoutError: they were not there in time.
        """
        began = monotonic()
        deadline = began + (self.policy.timeout if timeout is None else timeout)
        waiters: list[ThreadWaiter] = []

        def join(ledger: Ledger[PooledSlot, ThreadWaiter]) -> None:
            for _ in range(self.policy.min_size - ledger.in_use):
                waiters.append(ThreadWaiter(began))
                ledger.join(waiters[-1], began)

        def leave(ledger: Ledger[PooledSlot, ThreadWaiter]) -> None:
            for waiter in waiters:
                ledger.abandon(waiter, monotonic(), waiter.slot)

        try:
            self._step(join)
            for waiter in waiters:
                self._await(waiter, deadline)
        finally:
            self._step(leave)

    def resize(self, min_size: int | None = None, max_size: int | None = None) -> None:
        """Change the size of the running pool; None leaves a number as it is.

        A larger pool serves its line at once. A smaller one closes idle connections now and as many of those that are
        out as it must, when they come back.

        Raises:
            SettingsError: the numbers make no sense; nothing was changed.
        """
        given = {"min_size": min_size, "max_size": max_size}
        changes = {name: number for name, number in given.items() if number is not None}

        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> None:
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
            Whoever still holds a connection after that; empty when the pool is quiet. At once, if another thread
            resumes the pool meanwhile.
        """
        return self._wait_for_the_end(Ledger.pause, timeout)

    def resume(self) -> None:
        """Serve the line again."""
        self._step(lambda ledger: ledger.resume(monotonic()))

    # ---- the end

    def dispose(self) -> None:
        """Close what is idle now, and what is out when it comes back. The pool stays usable, and starts anew."""
        self._step(lambda ledger: ledger.dispose(monotonic()), close_here=True)
        self.logger.info("Pool disposed. %s", self.status())

    def close(self, timeout: float = 5.0) -> tuple[Holder, ...]:
        """Close the pool for good: newcomers and those in line are refused, and what is out is waited for.

        Args:
            timeout: seconds to wait for connections that are out.

        Returns:
            Whoever still holds a connection after that; it is closed when it comes back. Empty when all is closed.
            A second call waits again.
        """
        holders = self._wait_for_the_end(Ledger.close, timeout)
        if holders:
            logger.warning("%s closed, with %d connections still out:%s", self._label(), len(holders), tell(holders))
        return holders

    def _wait_for_the_end(
        self, step: Callable[[Ledger[PooledSlot, ThreadWaiter], float], None], timeout: float
    ) -> tuple[Holder, ...]:
        watcher = ThreadWaiter(monotonic())

        def begin(ledger: Ledger[PooledSlot, ThreadWaiter]) -> None:
            ledger.watchers.append(watcher)
            step(ledger, watcher.since)

        def end(ledger: Ledger[PooledSlot, ThreadWaiter]) -> None:
            if watcher in ledger.watchers:
                ledger.watchers.remove(watcher)

        try:
            self._step(begin, close_here=True)
            watcher.wait(timeout)
        finally:  # Ctrl-C included
            self._step(end, close_here=True)
        return self.holders()

    def recreate(self) -> ElasticPool:
        """A new, empty pool with everything this one was made with, events included."""
        self.logger.info("Pool recreating")
        return self.__class__(
            self._creator,
            **asdict(self.policy),
            require_writer=self.require_writer,
            reset=self._reset,
            observer=self._observer,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            dialect=cast("Dialect", self._dialect),
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
        )

    # ---- SQLAlchemy's own ways to mark connections

    def _should_wrap_creator(self, creator: _CreatorFnType | _CreatorWRecFnType) -> _CreatorWRecFnType:
        return stamping(super()._should_wrap_creator(creator), self._ref)

    def _invalidate(
        self, connection: PoolProxiedConnection, exception: BaseException | None = None, _checkin: bool = True
    ) -> None:
        """Mark this connection and all that were opened before now: the server went away under one of them."""
        super()._invalidate(connection, exception, _checkin)

        def step(ledger: Ledger[PooledSlot, ThreadWaiter]) -> None:
            before = [slot for slot in ledger.slots if slot.starttime < self._invalidate_time]
            ledger.condemn(before, monotonic(), "invalidated")

        self._step(step)

    # ---- what there is to see

    def status(self) -> str:
        """One line for people."""
        stats = self.stats()
        return (
            f"ElasticPool {stats.min_size}-{stats.max_size}: {stats.size} connections, {stats.idle} idle, "
            f"{stats.in_use} in use, {stats.opening} opening; {stats.waiting} waiting"
        )

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
