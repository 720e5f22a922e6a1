"""A slot as the pool has it: SQLAlchemy's connection record, with what the ledger keeps on it."""

from __future__ import annotations

import math
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool.base import _ConnectionRecord

from dbkit.core.stats import Histogram
from dbkit.core.types import State
from dbkit.pool.holders import Borrow
from dbkit.pool.liveness import PING_TIMEOUT, Peek, shut_down
from dbkit.pool.server_checks import can_write, demand_writer
from dbkit.runtime.background import call_at
from dbkit.runtime.forks import connecting

if TYPE_CHECKING:
    import weakref

    from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
    from sqlalchemy.pool import ConnectionPoolEntry
    from sqlalchemy.pool.base import _ConnDialect, _CreatorWRecFnType

    from dbkit.pool.driver import LedgerDriver
    from dbkit.pool.holders import CallSite


class PooledSlot(_ConnectionRecord):
    """One slot of an ``ElasticPool``. Made empty; ``get_connection()`` opens its connection."""

    __slots__ = (
        "_pool_ref",
        "borrowed_at",
        "borrowed_from",
        "checked_at",
        "generation",
        "idle_since",
        "leak_told",
        "peek",
        "retire_at",
        "retire_why",
        "state",
        "thread_id",
        "use_time",
    )

    _pool_ref: weakref.ref[LedgerDriver]
    borrowed_at: float
    borrowed_from: CallSite
    checked_at: float
    generation: int
    idle_since: float
    leak_told: bool
    peek: Peek
    retire_at: float
    retire_why: str
    state: State
    thread_id: int
    """The number of the thread that borrowed it last."""
    use_time: Histogram

    def __init__(self, pool: LedgerDriver, pool_ref: weakref.ref[LedgerDriver]) -> None:
        self.state = State.GONE
        self._pool_ref = pool_ref
        self.thread_id = 0
        self.borrowed_from = ()
        self.leak_told = False
        self.peek = Peek(None)
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
        return Borrow(thread_id=self.thread_id, since=self.borrowed_at, site=self.borrowed_from)

    def get_connection(self) -> DBAPIConnection:
        """The connection. Opens it if there is none; never reconnects under a borrower who was lent one, which would
        happen on his time and without his deadline: a connection that is to go retires when it comes back."""
        if self.state is State.IN_USE and self.dbapi_connection is not None:
            return self.dbapi_connection
        return super().get_connection()

    def invalidate(self, e: BaseException | None = None, soft: bool = False) -> None:
        """As SQLAlchemy's; a soft one, too, retires the connection when it comes back."""
        self.retire_at, self.retire_why = -math.inf, "invalidated"
        super().invalidate(e, soft)

    def ping(self, dialect: Dialect | _ConnDialect, *, demand_writer: bool = False) -> bool:
        """A round trip, bounded by ``PING_TIMEOUT``: True if the server answered (and lets us write, if demanded)."""
        connection = self.dbapi_connection
        if connection is None:
            return False
        watched: list[Any] = [connection]
        call_at(monotonic() + PING_TIMEOUT, partial(_give_up_on, watched))
        try:
            alive = _ping(connection, dialect) and (not demand_writer or can_write(connection))
        except Exception:  # noqa: BLE001 - whatever it is, this connection is not to be trusted
            alive = False
        try:
            watched.pop()
        except IndexError:  # the watch was quicker and shut it down
            return False
        return alive

    def forget(self) -> None:
        """In a forked child: let go of a connection that is the parent's, without a word to the server.

        Whoever has it out in the child holds an invalid connection now, instead of one whose every use would garble
        the parent's session.
        """
        self.state = State.GONE
        fairy = self.fairy_ref() if self.fairy_ref is not None else None
        if fairy is not None:
            fairy.dbapi_connection = None  # type: ignore[assignment]
        self.dbapi_connection = None


def stamping(create: _CreatorWRecFnType, pool_ref: weakref.ref[LedgerDriver]) -> _CreatorWRecFnType:
    """Wrap a creator, so that every physical connect, whoever asks for it, leaves its mark on the slot."""

    def create_and_stamp(rec: ConnectionPoolEntry) -> DBAPIConnection:
        began = monotonic()
        with connecting():
            connection = create(rec)
        pool = pool_ref()
        if pool is not None and pool.require_writer:
            demand_writer(connection)
        if isinstance(rec, PooledSlot):
            rec.peek = Peek(connection)
            if rec.state is State.IN_USE and pool is not None:
                pool._reopened(rec, monotonic() - began)
        return connection

    return create_and_stamp


def _ping(connection: DBAPIConnection, dialect: Dialect | _ConnDialect) -> bool:
    try:
        return bool(dialect._do_ping_w_event(connection))
    except NotImplementedError:  # a pool used without an engine
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT 1")
        finally:
            cursor.close()
        connection.rollback()
        return True


def _give_up_on(watched: list[Any]) -> None:
    try:
        connection = watched.pop()
    except IndexError:
        return
    shut_down(connection)
