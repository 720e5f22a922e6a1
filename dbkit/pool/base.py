"""What both pools are: the arguments, the operations that do not wait, SQLAlchemy's hooks, and what users see."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

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


class BasePool(LendingPool):
    """``ElasticPool`` and ``AsyncElasticPool``, but for the operations that wait. Arguments: see ``ElasticPool``."""

    _other_class: ClassVar[str]
    """The class for engines of the other kind."""

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
        self._refuse_the_wrong_engine(dialect)
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
        self._resets_with = self._reset_on_return
        if self._is_asyncio:  # SQLAlchemy would roll back in the borrower's task, where a cancellation cuts it off
            self._reset_on_return = reset_none
        if must_write:
            watch_for_read_only(dialect)
        forks.start_afresh(self, BasePool._after_fork_in_child)

    def _refuse_the_wrong_engine(self, dialect: Dialect | None) -> None:
        if dialect is None or dialect.is_async is self._is_asyncio:
            return
        engine = "an asyncio engine" if dialect.is_async else "an engine for threads"
        reason = f"cannot serve {engine} ({dialect.name}+{dialect.driver}): use poolclass={self._other_class}"
        raise PoolSettingsError([Fault("poolclass", reason, type(self).__name__)])

    def _fitness(self) -> Callable[[Any], bool]:
        """The question whether a connection that comes back may be used again."""
        if self._reset == "discard":
            return self.driver.discard_session
        if self._reset_on_return is reset_none:
            return self.driver.is_open  # users that ask for no reset may return open transactions
        return self.driver.is_clean

    # ---- operations

    def open_minimum(self, timeout: float | None) -> None:
        """``warm_up``, whatever carries the pool: on an event loop call it in a greenlet."""
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

    def _pause(self, timeout: float) -> tuple[Holder, ...]:
        return self._wait_for_the_end(Ledger.pause, timeout)

    def _close_for_good(self, timeout: float) -> tuple[Holder, ...]:
        holders = self._wait_for_the_end(Ledger.close, timeout)
        if holders:
            more = fields("closed_with_holders", logging_name_of(self), connections=len(holders))
            told = (log_label(self), len(holders), tell(holders))
            logger.warning("%s closed, with %d connections still out:%s", *told, extra=more)
        return holders

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
            **construction_of(self) | {"reset_on_return": self._resets_with},
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
            f"{type(self).__name__} {stats.min_size}-{show_size(stats.max_size)}: {stats.size} connections, "
            f"{stats.idle} idle, {stats.in_use} in use, {stats.opening} opening; {stats.waiting} waiting"
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
