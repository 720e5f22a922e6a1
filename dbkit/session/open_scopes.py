"""Which session scopes are open here: for a scope that joins another, and for a deadline set in the midst of one."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbkit.runtime.who import who

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session, sessionmaker


@dataclass(frozen=True, slots=True, eq=False)
class OpenScope:
    """A scope that is open. A context may be copied to another thread or task, which must not have its session."""

    sessions: sessionmaker[Session]
    session: Session
    borrower: int


_open: ContextVar[tuple[OpenScope, ...]] = ContextVar("dbkit_open_scopes", default=())
"""The innermost last."""


def enter(sessions: sessionmaker[Session], session: Session) -> OpenScope:
    """A scope opens here."""
    opened = OpenScope(sessions, session, who())
    _open.set((*_open.get(), opened))
    return opened


def leave(opened: OpenScope) -> None:
    """It ends: perhaps not the innermost one, or in another context, where a generator holds it."""
    _open.set(tuple(scope for scope in _open.get() if scope is not opened))


def open_here() -> Iterator[OpenScope]:
    """The scopes that are open in this context and on this thread or task, the innermost first."""
    me = who()
    return (scope for scope in reversed(_open.get()) if scope.borrower == me)


def innermost(sessions: sessionmaker[Session]) -> Session | None:
    """The session of the innermost scope of these sessions; None if there is none."""
    return next(
        (scope.session for scope in open_here() if scope.sessions is sessions and scope.session.is_active), None
    )
