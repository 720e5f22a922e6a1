"""``run_in_transaction``: a function that runs as a transaction, again and again until it went through."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from time import monotonic
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

from sqlalchemy import event, exc

from dbkit.core.retrying import Failure, judge, next_pause
from dbkit.drivers import sqlstate_of
from dbkit.runtime.deadlines import current
from dbkit.runtime.pausing import pause
from dbkit.session.deadlines import deadline, exceeded
from dbkit.session.errors import CommitOutcomeUnknown
from dbkit.session.scope_settings import check_timeout
from dbkit.session.scopes import session_scope

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

logger = logging.getLogger("dbkit.session.transactions")

T = TypeVar("T")
P = ParamSpec("P")


def run_in_transaction(
    sessions: sessionmaker[Session],
    fn: Callable[[Session], T],
    *,
    retries: int = 5,
    isolation_level: str | None = None,
    read_only: bool = False,
    timeout: float | None = None,
    is_committed: Callable[[Session], bool] | None = None,
) -> T:
    """Run ``fn(session)`` and commit; run the whole of it again where the server asks for that.

    That is after a serialization failure, a deadlock, or the loss of the connection before ``COMMIT`` was sent: then
    nothing of it stayed. The pauses between the attempts are random and grow. ``fn`` should do nothing but work with
    its session: all else would happen once for each attempt. If it commits in between, it is not run again.

    Args:
        sessions: makes a session for each attempt.
        fn: does the work. Each attempt has a session of its own.
        retries: how many further attempts there may be.
        isolation_level, read_only: as for ``session_scope``.
        timeout: seconds for all attempts together, pauses and waiting for the pool included; see ``deadline``.
        is_committed: looks in the database whether an attempt whose ``COMMIT`` has no known outcome took effect (for a
            key that it wrote, say); called with a session of its own. True: the result of ``fn`` is returned. False:
            it is run again. Without it such an attempt is never repeated, unless it was ``read_only``.

    Returns:
        What ``fn`` returned.

    Raises:
        CommitOutcomeUnknown: the connection was lost at ``COMMIT``, and there is no check.
        DeadlineExceeded: ``timeout`` is over; the last attempt's error is its cause.
        whatever ``fn`` or its commit raised at the last attempt, with a note of how many there were.
        sqlalchemy.exc.ArgumentError, SettingsError: an argument cannot be used; nothing was done.
    """
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise exc.ArgumentError(f"retries must be a whole number, 0 or more, not {retries!r}")
    if not callable(fn):
        raise exc.ArgumentError(f"fn must be a function that takes a session, not {type(fn).__name__}")
    check_timeout(timeout)
    with deadline(timeout) if timeout is not None else nullcontext():
        retry = 0
        last: exc.DBAPIError
        while True:
            began, attempt = monotonic(), _Attempt(fn)
            try:
                with session_scope(sessions, isolation_level=isolation_level, read_only=read_only) as session:
                    attempt.run(session)
                return attempt.result[0]
            except CommitOutcomeUnknown as error:
                if attempt.partly_committed:
                    raise
                if is_committed is not None:
                    with session_scope(sessions) as session:
                        committed = is_committed(session)
                    if committed:
                        return attempt.result[0]
                elif not read_only:
                    raise
                failure, last = Failure.NOT_COMMITTED, error
            except exc.DBAPIError as error:
                lost = error.connection_invalidated
                failure = judge(sqlstate_of(error.orig), lost=lost, partly_committed=attempt.partly_committed)
                if failure is Failure.FINAL:
                    raise
                last = error
            retry += 1
            _pause(retry, retries, monotonic() - began, failure, last)
            del last  # its traceback would keep this frame, and all that the failed attempt held


def transactional(
    sessions: sessionmaker[Session],
    *,
    retries: int = 5,
    isolation_level: str | None = None,
    read_only: bool = False,
    timeout: float | None = None,
    is_committed: Callable[[Session], bool] | None = None,
) -> Callable[[Callable[Concatenate[Session, P], T]], Callable[P, T]]:
    """A decorator: each call of the function is a transaction. Its first parameter is the session.

    Arguments as for ``run_in_transaction``.
    """

    def decorate(fn: Callable[Concatenate[Session, P], T]) -> Callable[P, T]:
        @wraps(fn)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return run_in_transaction(
                sessions,
                lambda session: fn(session, *args, **kwargs),
                retries=retries,
                isolation_level=isolation_level,
                read_only=read_only,
                timeout=timeout,
                is_committed=is_committed,
            )

        return run

    return decorate


class _Attempt(Generic[T]):
    """One run of the function, and how far it came."""

    def __init__(self, fn: Callable[[Session], T]) -> None:
        self._fn = fn
        self.partly_committed = False
        self.result: list[T] = []

    def run(self, session: Session) -> None:
        event.listen(session, "after_commit", self._committed)
        self.result.append(self._fn(session))

    def _committed(self, session: Session) -> None:
        if session.get_nested_transaction() is None:  # else it is a savepoint that is released
            self.partly_committed = True


def _pause(retry: int, retries: int, took: float, failure: Failure, last: exc.DBAPIError) -> None:
    """Wait until the next attempt, or raise."""
    now = current.get()
    left = None if now is None else now.left()
    seconds = next_pause(retry=retry, retries=retries, took=took, jitter=random.random(), left=left)
    if seconds is None:
        if now is not None and retry <= retries:
            raise exceeded(now, f"with no time for another attempt after {retry}") from last
        last.add_note(f"run_in_transaction gave up after {retry} attempts.")
        raise last
    logger.info("a transaction is run again in %.3f s (%s; retry %d of %d)", seconds, failure.value, retry, retries)
    pause(seconds)
