"""Statements that do not outlast their time, whatever the server does.

The server is told how long a statement may take, and stops it. A frozen server, or one behind a network that fell
silent, stops nothing. So the client has a moment of its own, shortly after: then the connection's socket is shut down,
which ends the driver's wait at once, and the connection is lost by that. Where no time is set, nothing is done.

Invariant: a connection that leaves the block has no moment left that could strike its next borrower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from dbkit.core.deadlines import grace
from dbkit.drivers import for_dialect
from dbkit.drivers.base import Transaction
from dbkit.drivers.cursors import remember
from dbkit.runtime.deadlines import current
from dbkit.runtime.waits import BoundedWait

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy.engine.interfaces import Dialect

    from dbkit.drivers.base import Driver

TIMEOUT: Final = "dbkit_timeout"
"""The execution option of a connection that says how many seconds each of its statements may take."""

AFTERWARDS: Final = 5.0
"""Seconds for what is sent when the deadline is past: a ``ROLLBACK``, a ``COMMIT``."""

_GIVEN_UP = "_dbkit_given_up"
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A wait for the server that was given up.

    Attributes:
        seconds: the deadline, or the timeout, that was past.
        took: seconds from sending until then.
    """

    seconds: float
    took: float


class bounded:  # noqa: N801 - used as a verb, like contextlib's
    """Within the block this thread waits for the server until the deadline or the timeout, and not much longer.

    An error that comes of giving up is marked: see ``given_up``. A block that ended well in that very moment has its
    connection closed.

    Args:
        driver: the connection's.
        connection: the driver's own.
        timeout: seconds the block may take; None for no limit but the deadline's.
        idle_too: give the connection up whether or not the server is at work in that moment. False for a block that
            does other things, too.

    Attributes:
        lost: after the block: the connection was given up.
    """

    __slots__ = ("_began", "_connection", "_counts", "_deadline", "_idle_too", "_seconds", "_wait", "lost")

    def __init__(
        self,
        driver: Driver,
        connection: Any,
        timeout: float | None = None,
        *,
        idle_too: bool = True,
    ) -> None:
        self._connection = connection
        self._deadline = deadline = current.get()
        self._began = now = monotonic()
        self.lost = False
        moments = []
        if deadline is not None:
            at = deadline.give_up_at() if deadline.at > now else now + AFTERWARDS
            moments.append((at, deadline.seconds))
        if timeout is not None:
            moments.append((now + timeout + grace(timeout), timeout))
        at, self._seconds = min(moments, default=(0.0, 0.0))
        self._idle_too = idle_too
        self._counts = False
        self._wait = BoundedWait(at, partial(_give_up, driver, connection, idle_too)) if moments else None

    def __enter__(self) -> Self:
        wait = self._wait
        if wait is not None:
            # The pool closes what a loan left open: also a wait that an exception from outside kept from ending.
            remember(getattr(self._connection, "dbkit_cursors", {}), wait)
            if self._deadline is not None and self._idle_too:
                self._counts = self._deadline.sending()
            wait.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait = self._wait
        if wait is None:
            return
        self.lost = not wait.end()
        if self._deadline is not None and self._counts:
            self._deadline.answered()
        if self.lost and error is None:
            self._connection.close()
        elif self.lost and isinstance(error, Exception):
            self.mark(error)

    def mark(self, error: Exception) -> None:
        """Say on the driver's error, which SQLAlchemy may have wrapped, that it comes of giving up."""
        setattr(getattr(error, "orig", None) or error, _GIVEN_UP, GivenUp(self._seconds, monotonic() - self._began))


def _give_up(driver: Driver, connection: Any, idle_too: bool) -> bool:
    if not idle_too and driver.transaction(connection) is not Transaction.ACTIVE:
        return False
    driver.shut_down(connection)
    return True


def given_up(error: BaseException | None) -> GivenUp | None:
    """What was given up, where this error of the driver's comes of that; else None."""
    return getattr(error, _GIVEN_UP, None)


def run_bounded(driver: Driver, connection: Any, timeout: float | None, call: Callable[..., T], *arguments: Any) -> T:
    """Call a function of the driver's within ``bounded``.

    Raises:
        the driver's error; marked where the connection was given up, also if the answer came in that very moment.
    """
    with bounded(driver, connection, timeout) as wait:
        result = call(*arguments)
    if wait.lost:
        error = driver.operational_error(connection, "the server answered too late; the connection was given up")
        wait.mark(error)
        raise error
    return result


def for_text(statement: str, timeout: float | None) -> float | None:
    """Seconds for a text, each of whose statements may take ``timeout``: the server counts them one by one."""
    return None if timeout is None else timeout * (1 + statement.rstrip("; \n\t").count(";"))


def bound_statements(dialect: Dialect) -> None:
    """Bound what is sent through this dialect by ``db.deadline``, and by the option ``TIMEOUT`` of its connections.

    Does nothing for a driver that dbkit does not know.

    Args:
        dialect: an engine's own.
    """
    driver = for_dialect(dialect)
    if not driver.has_autocommit:
        return
    ours: Any = dialect
    ours.do_execute = _bounded_execution(driver, ours.do_execute)
    ours.do_execute_no_params = _bounded_execution(driver, ours.do_execute_no_params)
    ours.do_executemany = _bounded_execution(driver, ours.do_executemany, each=False)
    ours.do_commit = _bounded_end(driver, ours.do_commit)
    ours.do_rollback = _bounded_end(driver, ours.do_rollback)


def _bounded_execution(driver: Driver, execute: Callable[..., None], *, each: bool = True) -> Callable[..., None]:
    """The same with bounds; with the timeout's only where it is one execution, since the server counts each."""

    def bounded_execute(cursor: Any, statement: str, *more: Any, context: Any = None) -> None:
        if context is not None:
            more = (*more, context)
        options = getattr(more[-1], "execution_options", _NO_OPTIONS) if each and more else _NO_OPTIONS
        timeout = options.get(TIMEOUT)
        if timeout is None and current.get() is None:
            execute(cursor, statement, *more)
        else:
            timeout = for_text(statement, timeout)
            run_bounded(driver, driver.connection_of(cursor), timeout, execute, cursor, statement, *more)

    return bounded_execute


def _bounded_end(driver: Driver, end: Callable[[Any], None]) -> Callable[[Any], None]:
    def bounded_end(dbapi_connection: Any) -> None:
        if current.get() is None:
            end(dbapi_connection)
            return
        with bounded(driver, getattr(dbapi_connection, "dbapi_connection", dbapi_connection)):
            end(dbapi_connection)

    return bounded_end
