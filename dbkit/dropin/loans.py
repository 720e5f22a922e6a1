"""Lending connections to code that gives them back by hand.

Every loan is a ``LentConnection`` of its own, so that a return proves that its caller has it. The driver's own
object could not tell: after a return the next borrower has the very same one, and a second return by the first would
take it away from that borrower.

Invariants:

1. A loan ends once: by ``give_back``, or never. Anything else that is given back is refused, and changes nothing.
2. After its end a ``LentConnection`` and its cursors can do nothing any more; what it was lent from may be another
   borrower's by then.
3. A loan that nobody gives back stays one, as in the older pools, and is named in the pool's reports: a cursor may
   still be at work on its connection.
4. After a fork the loans are the parent's. In the child they can do nothing, and giving one back does nothing either:
   a word said on its connection there would be said in the middle of the parent's session.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

import psycopg2

from dbkit.drivers.cursors import close, remember, still_open
from dbkit.dropin.errors import ClosedError, NoConnectionError, NotLentError
from dbkit.pool.errors import LineFullError, PoolClosedError, PoolTimeoutError
from dbkit.runtime.forks import start_afresh

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy.pool import PoolProxiedConnection

    from dbkit.pool.elastic import ElasticPool


class _Ended:
    """Stands in the place of a connection after its loan: something closed."""

    closed = 1

    def __init__(self, why: str) -> None:
        self._why = why

    def close(self) -> None:
        """Do nothing, as on any connection that is closed already."""

    def __getattr__(self, name: str) -> NoReturn:
        self.refuse()

    def refuse(self) -> NoReturn:
        raise psycopg2.InterfaceError(self._why)


_GIVEN_BACK = _Ended("the connection was given back to its pool; borrow another one")
_LEFT_TO_PARENT = _Ended("the connection was borrowed before this process was forked; borrow another one")


class LentConnection:
    """A pool's connection for as long as it is lent: does all that the driver's connection does.

    Attributes and methods are the driver's own; ``isinstance`` sees the driver's class, too. The few functions of
    psycopg2 written in C that demand the very object (``register_type``, ``quote_ident``) take ``cursor.connection``.
    """

    __slots__ = ("__weakref__", "_cursors", "_driver_connection", "_loans")

    _cursors: dict[int, ref[Any]]
    _driver_connection: Any
    _loans: Loans

    def __init__(self, driver_connection: Any, loans: Loans) -> None:
        object.__setattr__(self, "_driver_connection", driver_connection)
        object.__setattr__(self, "_loans", loans)
        object.__setattr__(self, "_cursors", {})

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        lent = self._driver_connection
        return LentConnection if type(lent) is _Ended else type(lent)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver_connection, name)
        return found if name != "cursor" else partial(_cursor, self._cursors, found)

    def __setattr__(self, name: str, value: object) -> None:
        lent = self._driver_connection
        if type(lent) is _Ended:
            lent.refuse()
        setattr(lent, name, value)

    def __enter__(self) -> Any:
        entered = self._driver_connection.__enter__()
        return self if entered is self._driver_connection else entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        done: bool | None = self._driver_connection.__exit__(kind, error, trace)
        return done

    def __repr__(self) -> str:
        lent = self._driver_connection
        return "<a connection no longer lent>" if type(lent) is _Ended else f"<lent {lent!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a connection can be neither copied nor pickled")


def _cursor(cursors: dict[int, ref[Any]], make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return remember(cursors, make(*args, **kwargs))


def lender_of(connection: object) -> Loans | None:
    """Whose loan this is, or was; None if it is none."""
    return connection._loans if type(connection) is LentConnection else None


class Loans:
    """The loans of one pool. Thread-safe.

    Args:
        pool: where the connections come from.
        label: what the lender is called in messages.
        tidy: brings a connection that comes back in order; False from it means that it is of no more use. Is given
            what ``note`` made of it when it was lent.
        note: what to remember of a connection while it is lent.

    ``tidy`` and ``note`` are given the connection as the pool has it, which is the driver's own unless a dialect says
    otherwise (``get_driver_connection``).
    """

    def __init__(
        self,
        pool: ElasticPool,
        label: str,
        *,
        note: Callable[[Any], Any] = lambda connection: None,
        tidy: Callable[[Any, Any], bool] = lambda connection, noted: True,
    ) -> None:
        self.pool = pool
        self._label = label
        self._note = note
        self._tidy = tidy
        self._out: dict[int, tuple[LentConnection, PoolProxiedConnection, Any]] = {}
        start_afresh(self, Loans._leave_to_parent)

    def warm_up(self, timeout: float | None = None) -> None:
        """Open the pool's ``min_size`` connections.

        Args:
            timeout: seconds to wait in all; the pool's own ``timeout`` if None.

        Raises:
            NoConnectionError: they were not open in time.
            ClosedError: the pool was closed.
            the driver's own error, if one could not be opened.
        """
        try:
            self.pool.warm_up(timeout)
        except (PoolTimeoutError, LineFullError, PoolClosedError) as error:
            raise as_dropin_error(error) from error

    def borrow(self, timeout: float | None = None, note: Callable[[Any], Any] | None = None) -> LentConnection:
        """A connection, out of the pool until it is given back.

        Args:
            timeout: seconds to wait; the pool's own ``timeout`` if None.
            note: for this loan, instead of the usual one. An exception from it ends the loan, and is passed on.

        Raises:
            NoConnectionError: none could be had in time, or too many stand in line.
            ClosedError: the pool was closed.
            the driver's own error, if it could not be opened.
        """
        try:
            borrowed = self.pool.borrow(timeout)
        except (PoolTimeoutError, LineFullError, PoolClosedError) as error:
            raise as_dropin_error(error) from error
        lent: LentConnection | None = None
        try:
            lent = LentConnection(borrowed.driver_connection, self)
            self._out[id(lent)] = (lent, borrowed, (note or self._note)(borrowed.dbapi_connection))
            return lent
        except BaseException:
            self._out.pop(id(lent), None)
            borrowed.close()
            raise

    def give_back(self, lent: object) -> None:
        """Take a connection back: uncommitted changes are rolled back.

        Raises:
            NotLentError: it is no connection of this pool's, or it was given back before.
        """
        if type(lent) is not LentConnection:
            raise NotLentError(f"{self._label} never lent this {type(lent).__name__}; give back what it handed out")
        if lent._loans is not self:
            raise NotLentError(f"this connection is not {self._label}'s but {lent._loans._label}'s: it stays lent")
        entry = self._out.get(id(lent))
        try:
            if entry is None or self._out.pop(id(lent), None) is not entry:
                entry = None
                raise NotLentError("this connection was given back already; somebody else may be using it by now")
            _, borrowed, noted = entry
            connection = lent._driver_connection
            object.__setattr__(lent, "_driver_connection", _GIVEN_BACK)
            if connection is not _LEFT_TO_PARENT and not (
                _closed(lent._cursors) and self._tidy(borrowed.dbapi_connection, noted)
            ):
                borrowed.invalidate()
        except BaseException:
            if entry is not None and id(lent) not in self._out:  # struck from outside: nobody knows how tidy it is
                entry[1].invalidate()
            raise
        borrowed.close()

    def _leave_to_parent(self) -> None:
        for lent, _, _ in self._out.values():
            object.__setattr__(lent, "_driver_connection", _LEFT_TO_PARENT)


def _closed(cursors: dict[int, ref[Any]]) -> bool:
    """Close the cursors of a loan. False: one cannot be closed, and goes with its connection."""
    try:
        for cursor in still_open(cursors):
            close(cursor)
    except Exception:  # noqa: BLE001 - any driver's own error
        return False
    return True


def as_dropin_error(error: PoolTimeoutError | LineFullError | PoolClosedError) -> NoConnectionError | ClosedError:
    """The pool's refusal as the older classes' users catch it, its message kept."""
    if isinstance(error, PoolClosedError):
        return ClosedError(f"Connection pool is closed: {error}")
    return NoConnectionError(f"No connections available: {error}")
