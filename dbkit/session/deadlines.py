"""``with db.deadline(seconds)``: one moment for waiting for the pool, connecting, and each statement within."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, exc

from dbkit.core.deadlines import is_worn, milliseconds, spend
from dbkit.drivers import sqlstate_of
from dbkit.drivers.bounded import GivenUp, given_up
from dbkit.drivers.commits import lost_at_commit
from dbkit.pool.errors import DeadlineExceeded
from dbkit.pool.lending import refuse_bad_seconds
from dbkit.runtime.deadlines import Deadline, current
from dbkit.session.connection_state import run_commands
from dbkit.session.open_scopes import open_here

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

TIMED_OUT = frozenset({"57014", "55P03"})
"""SQLSTATEs ``query_canceled`` and ``lock_not_available``: how the server ends what takes too long."""

_BEGUN, _WATCHED = "dbkit begun", "dbkit watched"
"""Keys of a session's ``info``: its connection in the transaction under way, and the one that is watched."""

_SLACK = 0.05
"""Seconds before a deadline at which a statement that timed out counts as stopped by it: timeouts are rounded."""


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Bound everything within the block, taken together.

    A borrower in the block waits no longer than that for a connection, an open one or a new one. Each transaction of a
    session begins with what is left as its ``statement_timeout`` and ``lock_timeout``, in one round trip; they are set
    again before a statement if a tenth of that has passed meanwhile. So are those of a ``session_scope`` that is in the
    midst of a transaction already. A statement of ``execute_query`` runs in a
    transaction of its own for that, in four round trips in place of one.

    A server that stops nothing, because it is frozen or out of reach, is given up shortly after the deadline: a
    twentieth of it, at least 0.1 s and at most 1 s. The connection is lost by that, and replaced by the pool. So are
    statements given up that the server was not told of: those of ``engine.connect()``, and what is under way on a
    ``raw_connection()`` in that moment.

    A deadline within a deadline holds as far as it is the earlier one. It travels in a context variable: a thread or
    task has it that runs in a copy of the context (``contextvars.copy_context().run(...)``, ``asyncio.to_thread``).

    Args:
        seconds: from now on.

    Raises:
        SettingsError: ``seconds`` is no number of seconds.
        DeadlineExceeded: the time is over; it says where the time went.
    """
    refuse_bad_seconds("deadline", seconds)
    outer, mine = current.get(), Deadline(seconds)
    inner = mine if outer is None or mine.at < outer.at else outer
    current.set(inner)
    try:
        _watch_open_scopes()
        yield inner
    except Exception as error:
        exceeded = by_deadline(error, inner)
        if exceeded is None:
            raise
        raise exceeded from error
    finally:
        if current.get() is inner:  # else the block ends in another context than it began in
            current.set(outer)


def exceeded(now: Deadline, during: str) -> DeadlineExceeded:
    """The error for a deadline that is past."""
    return DeadlineExceeded(
        f"the deadline of {now.seconds:g} s is past, {during}: {now.spent()}", seconds=now.seconds, spent=now.spent()
    )


def by_deadline(error: BaseException, now: Deadline | None = None) -> DeadlineExceeded | None:
    """The error to raise in place of one by which a statement was stopped because of the deadline, or given up.

    Args:
        error: SQLAlchemy's or the driver's.
        now: the deadline; the current one if None.

    Returns:
        None if it is another error, or the server stopped it with time left or without a deadline.
    """
    now = now or current.get()
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(error, DeadlineExceeded) or lost_at_commit(cause):
        return None
    given = given_up(cause)
    if given is not None and (now is None or now.left() > _SLACK):
        return _given_up(given)
    if given is not None and now is not None:
        return exceeded(now, "and the server neither answered nor stopped a statement, so its connection was given up")
    if now is None or now.left() > _SLACK or sqlstate_of(cause) not in TIMED_OUT:
        return None
    return exceeded(now, "and the server stopped a statement")


def _given_up(given: GivenUp) -> DeadlineExceeded:
    spent = spend(given.took, waiting=0.0, connecting=0.0, statements=given.took)
    return DeadlineExceeded(
        f"the timeout of {given.seconds:g} s is past, and the server neither answered nor stopped the statement, so "
        "its connection was given up",
        seconds=given.seconds,
        spent=spent,
    )


def time_left() -> float | None:
    """Seconds left for a statement; None where there is no deadline.

    Raises:
        DeadlineExceeded: none are left.
    """
    now = current.get()
    if now is None:
        return None
    left = now.left()
    if left <= 0:
        raise exceeded(now, "before a statement was sent")
    return left


def watch(connection: Connection, *, given: float | None, otherwise: float | None) -> None:
    """Look at the clock before each statement of the transaction under way.

    Args:
        connection: in the transaction.
        given: seconds that the server was told a statement may take; None for no limit.
        otherwise: seconds that a statement may take where there is no deadline; None for no limit.
    """
    transaction, latest, telling = connection.get_transaction(), [given], [False]

    def before(
        within: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if telling[0]:
            return
        left = time_left()
        wanted = min((seconds for seconds in (left, otherwise) if seconds is not None), default=None)
        if is_worn(wanted, latest[0]) and within.get_transaction() is transaction:
            telling[0] = True
            try:
                run_commands(within, limit(wanted))
            finally:
                telling[0] = False
            latest[0] = wanted

    event.listen(connection, "before_cursor_execute", before)


def note_begin(session: Session, connection: Connection, *, timeout: float | None, left: float | None) -> None:
    """A transaction of a session has just begun, with the lesser of these for each statement.

    Args:
        session: whose it is.
        connection: in the transaction.
        timeout: the scope's own, in seconds.
        left: seconds until the deadline; None where there is none.
    """
    session.info[_BEGUN] = (connection, timeout)
    if left is not None:
        session.info[_WATCHED] = connection
        watch(connection, given=left if timeout is None else min(timeout, left), otherwise=timeout)


def _watch_open_scopes() -> None:
    """A deadline begins in the midst of transactions: they are watched from now on."""
    for scope in open_here():
        connection, timeout = scope.session.info.get(_BEGUN, (None, None))
        if connection is not None and scope.session.info.get(_WATCHED) is not connection and not connection.closed:
            scope.session.info[_WATCHED] = connection
            watch(connection, given=timeout, otherwise=timeout)


def limit(seconds: float | None) -> str:
    """The commands that limit statements and waits for locks in the transaction under way; None for the defaults."""
    value = "DEFAULT" if seconds is None else milliseconds(seconds)
    return f"SET LOCAL statement_timeout = {value}; SET LOCAL lock_timeout = {value}"
