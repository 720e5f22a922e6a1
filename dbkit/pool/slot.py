"""A slot as the pool has it: SQLAlchemy's connection record, with what the ledger keeps on it."""

from __future__ import annotations

import math
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from dbkit.core.holding import Borrow, Caller
from dbkit.core.stats import Histogram
from dbkit.core.types import State
from dbkit.pool.creator import Creator
from dbkit.pool.internals import ConnectionRecord, dialect_of
from dbkit.pool.liveness import PING_TIMEOUT, Peek, ask, make_peek
from dbkit.pool.server_checks import demand_writer
from dbkit.runtime.forks import connecting
from dbkit.runtime.waits import BoundedWait

if TYPE_CHECKING:
    import weakref

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry
    from sqlalchemy.pool.base import _CreatorWRecFnType

    from dbkit.drivers.base import Driver
    from dbkit.pool.driver import LedgerDriver


class PooledSlot(ConnectionRecord):
    """One slot of an ``ElasticPool``. Made empty; ``get_connection()`` opens its connection."""

    __slots__ = (
        "_pool_ref",
        "borrowed_at",
        "checked_at",
        "generation",
        "holder",
        "idle_since",
        "leak_told_at",
        "manners",
        "peek",
        "retire_at",
        "state",
        "use_time",
    )

    _pool_ref: weakref.ref[LedgerDriver]
    borrowed_at: float
    checked_at: float
    generation: int
    holder: Caller
    """The borrower it was last handed to: its thread's number, with the call site in a pool with ``leak_after``."""
    idle_since: float
    leak_told_at: float
    manners: object
    """How the connection behaves since it was opened and everybody told of that; see ``Driver.state``."""
    peek: Peek | None
    """Polls the connection's socket: called with 0, it gives something if the server has said something. None where
    there is no socket to look at."""
    retire_at: float
    state: State
    use_time: Histogram

    def __init__(self, pool: LedgerDriver, pool_ref: weakref.ref[LedgerDriver]) -> None:
        self.state = State.GONE
        self._pool_ref = pool_ref
        self.holder = 0
        self.leak_told_at = -math.inf
        self.manners = None
        self.peek = None
        self.use_time = Histogram()
        super().__init__(pool, connect=False)

    def __del__(self) -> None:
        # Nobody knows this slot any more, though it counts: its holder vanished. In a pool that is itself being
        # collected the reference is dead already.
        if self.state is not State.GONE and (pool := self._pool_ref()) is not None:
            pool._vanished(self)

    @property
    def borrow(self) -> Borrow:
        """Who has it."""
        return Borrow.of(self.holder, self.borrowed_at)

    def get_connection(self) -> DBAPIConnection:
        """The connection; opens one if there is none.

        Never replaces one that is there. SQLAlchemy's own record would, on the borrower's time and by comparing wall
        clocks, which may step back; here the generation decides, when the slot is taken and when it comes back.
        """
        if self.dbapi_connection is not None:
            return self.dbapi_connection
        connection = super().get_connection()
        pool = self._pool_ref()
        if pool is not None:
            self.manners = pool.driver.state(connection)
        return connection

    def invalidate(self, e: BaseException | None = None, soft: bool = False) -> None:
        """As SQLAlchemy's; the slot must go when it comes back, unless its holder connects it again before."""
        if self.generation >= 0:
            self.generation = ~self.generation
        super().invalidate(e, soft)

    def answers(self, pool: LedgerDriver) -> bool:
        """A round trip, bounded by ``PING_TIMEOUT``: whether the server answers, and lets us write if it must."""
        connection = self.dbapi_connection
        if connection is None:
            return False
        wait = BoundedWait(monotonic() + PING_TIMEOUT, partial(_shut_down, pool.driver, connection))
        try:
            wait.begin()
            alive = ask(pool.driver, connection, dialect_of(pool))
            alive = alive and (not pool.require_writer or pool.driver.is_writer(connection))
        except Exception:  # noqa: BLE001 - of any kind: this connection is not to be trusted
            alive = False
        finally:
            by_itself = wait.end()
        return alive and by_itself

    def forget(self) -> None:
        """In a forked child: let go of a connection that is the parent's, without a word to the server.

        A borrower in the child then holds an invalid connection, instead of one whose every use would garble the
        parent's session.
        """
        self.state = State.GONE
        fairy = self.fairy_ref() if self.fairy_ref is not None else None
        if fairy is not None:
            fairy.dbapi_connection = None  # type: ignore[assignment]
        self.dbapi_connection = None


def stamping(create: _CreatorWRecFnType, creator: object, pool_ref: weakref.ref[LedgerDriver]) -> _CreatorWRecFnType:
    """Wrap a creator, so that every physical connection, for every purpose, leaves its mark on the slot.

    Args:
        create: the creator, as SQLAlchemy calls it.
        creator: the creator as the pool was given it. A ``Creator`` tells by itself when it connects.
        pool_ref: the pool.
    """
    gated = isinstance(creator, Creator)

    def create_and_stamp(rec: ConnectionPoolEntry) -> DBAPIConnection:
        pool = pool_ref()
        slot = rec if isinstance(rec, PooledSlot) else None
        again = slot if slot is not None and slot.state is State.IN_USE else None
        generation = pool._reopening() if again is not None and pool is not None else 0
        began = monotonic()
        if gated or (pool is not None and pool._is_asyncio):  # libpq holds no lock between two steps of a connect
            connection = create(rec)
        else:
            with connecting():
                connection = create(rec)
        if pool is None:
            return connection
        try:
            if pool.require_writer:
                demand_writer(pool.driver, connection)
            if slot is not None:
                slot.peek = make_peek(pool.driver, connection)
            if again is not None:
                pool._reopened(again, generation, monotonic() - began)
        except BaseException:
            connection.close()
            raise
        return connection

    return create_and_stamp


def _shut_down(driver: Driver, connection: Any) -> bool:
    driver.shut_down(connection)
    return True
