"""``ROLLBACK`` on psycopg's connections of an event loop, carried by the loop itself.

Every connection that comes back in a transaction is rolled back, so the cost is felt. psycopg's own ``rollback()`` runs
a coroutine around a generator, with a timer for each wait; here a callback of the loop reads the answer, by the part of
libpq that ``psycopg.pq`` documents. No task drives it, so no cancellation cuts it off; nobody cancels ``over`` either,
which its only reader keeps behind glass (``runtime/uncut.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus

if TYPE_CHECKING:
    import asyncio

_IN_TRANSACTION: Final = (int(TransactionStatus.INTRANS), int(TransactionStatus.INERROR))
_DONE: Final = int(ExecStatus.COMMAND_OK)


def is_plain(raw: Any) -> bool:
    """Whether the connection's transaction is one that a bare ``ROLLBACK`` ends as ``raw.rollback()`` would.

    Not in psycopg's own transaction blocks, pipelines and two-phase transactions; nor where it has prepared statements,
    which it deallocates after a rollback; nor while somebody still uses the connection.
    """
    try:
        return bool(
            raw.pgconn.transaction_status in _IN_TRANSACTION
            and not raw._num_transactions
            and not raw._tpc
            and not raw._pipeline
            and not raw._prepared._names
            and not raw.lock.locked()
        )
    except AttributeError:  # a psycopg that has other names for it
        return False


class Rollback:
    """One ``ROLLBACK`` under way.

    Args:
        raw: psycopg's connection; see ``is_plain``.
        loop: the running one.

    Raises:
        psycopg.OperationalError: nothing could be sent.
    """

    __slots__ = ("_loop", "_raw", "_reads", "_socket", "_writes", "over")

    def __init__(self, raw: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._raw, self._loop = raw, loop
        self._socket = raw.pgconn.socket
        self._reads = self._writes = False
        """The loop watches the socket, for either."""
        self.over: asyncio.Future[None] = loop.create_future()
        """Done when the server has answered; has psycopg's error where it refused, or was lost."""
        _lock(raw)
        try:
            raw.pgconn.send_query(b"ROLLBACK")
            if raw.pgconn.flush():
                self._writes = True
                loop.add_writer(self._socket, self._write)
        except psycopg.Error:
            raw.lock.release()
            raise
        loop.call_soon(self._read)  # where the loop has other work the answer is there by then, unwaited for

    def _write(self) -> None:
        try:
            if not self._raw.pgconn.flush():
                self._writes = False
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._end(error)

    def _read(self) -> None:
        if self.over.done():  # writing failed
            return
        pgconn = self._raw.pgconn
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self._raw._prepared.clear()  # as psycopg does: it counts afresh in the next transaction
                    self._end(None)
                    return
                if result.status != _DONE:
                    raise psycopg.OperationalError(f"ROLLBACK was refused: {result.get_error_message()}")
        except psycopg.Error as error:
            self._end(error)
            return
        if not self._reads:
            self._reads = True
            self._loop.add_reader(self._socket, self._read)

    def _end(self, error: psycopg.Error | None) -> None:
        if self._reads:
            self._loop.remove_reader(self._socket)
        if self._writes:
            self._loop.remove_writer(self._socket)
        self._raw.lock.release()
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)


def _lock(raw: Any) -> None:
    """Take psycopg's lock, which is free, so that whoever still uses the connection waits until this is over."""
    try:
        raw.lock.acquire().send(None)
    except StopIteration:
        pass
