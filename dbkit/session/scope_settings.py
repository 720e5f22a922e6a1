"""Terms of each transaction of a scope: settings, timeouts, a deadline. Told to the server when it begins.

Everything is local to its transaction (``SET LOCAL``, ``set_config(..., true)``): the server forgets it at the end, so
nothing reaches the next borrower, and it works through PgBouncer. Names and values of settings are bound, never
formatted into SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event, exc

from dbkit.core.deadlines import milliseconds
from dbkit.drivers.bounded import TIMEOUT
from dbkit.pool.lending import refuse_bad_seconds
from dbkit.session.connection_state import run_commands
from dbkit.session.deadlines import limit, note_begin, time_left
from dbkit.session.placeholders import for_driver

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

Value = str | int | float | bool
"""A setting's value; the server takes it as text, True and False as ``on`` and ``off``."""

LEVELS: Final = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z")
_KEY = "dbkit scope"


@dataclass(frozen=True, slots=True)
class ScopeOptions:
    """The options of one scope.

    Attributes:
        timeout: seconds that each statement, and each wait for a lock, may take; None for no limit.
        settings: the server's settings, by name.
    """

    timeout: float | None
    settings: Mapping[str, str]


@dataclass(slots=True)
class _ForAll:
    """The terms of all sessions of one maker.

    Attributes:
        provide: gives further settings when a transaction begins.
        engines: the maker's engine with a level, or read-only.
    """

    provide: Callable[[], Mapping[str, Value]] | None = None
    engines: dict[tuple[Engine, str | None, bool], Engine] = field(default_factory=dict)


_makers: WeakKeyDictionary[sessionmaker[Any], _ForAll] = WeakKeyDictionary()


def tend(sessions: sessionmaker[Any]) -> _ForAll:
    """Have each transaction of these sessions begin with what holds for it. May be called again."""
    found = _makers.get(sessions)
    if found is None:
        found = _makers[sessions] = _ForAll()

        def on_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
            if not transaction.nested:
                _begin(found, session, connection)

        event.listen(sessions, "after_begin", on_begin)
    return found


def settings_for(sessions: sessionmaker[Any], provide: Callable[[], Mapping[str, Value]] | None) -> None:
    """Ask ``provide`` for settings whenever a transaction of these sessions begins.

    Args:
        sessions: makes the sessions.
        provide: called without arguments on the session's thread, in its context variables. In place of the one given
            before; None for no settings any more. The session's statement raises what it raises.
    """
    if provide is not None and not callable(provide):
        raise exc.ArgumentError(f"settings_for takes a function that returns settings, not {type(provide).__name__}")
    tend(sessions).provide = provide


def options_of_scope(timeout: float | None, settings: Mapping[str, Value] | None) -> ScopeOptions | None:
    """Check what a scope asks for; None if it is nothing.

    Raises:
        SettingsError: ``timeout`` is no number of seconds.
        sqlalchemy.exc.ArgumentError: a setting's name or value is none.
    """
    check_timeout(timeout)
    if timeout is None and not settings:
        return None
    return ScopeOptions(timeout, check_settings(settings or {}))


def ask_for(session: Session, options: ScopeOptions | None) -> None:
    """Make this session's transactions begin with what the scope asks for."""
    if options is not None:
        session.info[_KEY] = options


def check_timeout(timeout: float | None) -> None:
    """Refuse what is no number of seconds above 0.

    Raises:
        SettingsError: naming the value.
    """
    if timeout is not None:
        refuse_bad_seconds("timeout", timeout)
        if timeout == 0:
            raise exc.ArgumentError("timeout must be more than 0 seconds; leave it out for no limit")


def check_settings(settings: Mapping[str, Value]) -> dict[str, str]:
    """The settings as the server takes them.

    Raises:
        sqlalchemy.exc.ArgumentError: it is no mapping, or one of its names or values cannot be one.
    """
    if not isinstance(settings, Mapping):
        raise exc.ArgumentError(f"settings must be a mapping of name to value, not {type(settings).__name__}")
    checked = {}
    for name, value in settings.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise exc.ArgumentError(f"{name!r} is no name of a setting: write it as role, or as app.tenant_id")
        if not isinstance(value, Value):
            raise exc.ArgumentError(f"the setting {name} takes text or a number, not {type(value).__name__}")
        if isinstance(value, bool):
            checked[name] = "on" if value else "off"
        else:
            checked[name] = str(value)
    return checked


def variant(sessions: sessionmaker[Any], isolation_level: str | None, *, read_only: bool) -> Engine | None:
    """The engine for transactions with a level of their own, or that may not write; None where neither is asked for.

    The driver says so when it begins the transaction, which costs no round trip.

    Raises:
        sqlalchemy.exc.ArgumentError: there is no such level, or the sessions are not bound to an engine.
    """
    if isolation_level is None and not read_only:
        return None
    level = None
    if isolation_level is not None:
        level = str(isolation_level).upper().replace("_", " ")
        if level not in LEVELS:
            raise exc.ArgumentError(f"isolation_level must be one of {', '.join(LEVELS)}, not {isolation_level!r}")
    engine = sessions.kw.get("bind")
    if not isinstance(engine, Engine):
        raise exc.ArgumentError("read_only and isolation_level need sessions that are bound to an engine")
    known = tend(sessions).engines
    key = (engine, level, read_only)
    if key not in known:
        options: dict[str, Any] = {} if level is None else {"isolation_level": level}
        if read_only:
            options["postgresql_readonly"] = True
        known[key] = engine.execution_options(**options)
        known[key]._connection_cls = _GivenBack
    return known[key]


class _GivenBack(Connection):
    """A connection that is given back where the setting of its mode fails, which may wait for an event loop.

    SQLAlchemy's own, cut off there, would leave that to the collector: its user has no connection yet to close.
    """

    def __init__(self, engine: Engine, *more: Any, **options: Any) -> None:
        try:
            super().__init__(engine, *more, **options)
        except BaseException:
            borrowed = getattr(self, "_dbapi_connection", None)
            if borrowed is not None:
                borrowed.invalidate()
            raise


def _begin(for_all: _ForAll, session: Session, connection: Connection) -> None:
    options: ScopeOptions | None = session.info.get(_KEY)
    timeout, left = None if options is None else options.timeout, time_left()
    seconds = min((each for each in (timeout, left) if each is not None), default=None)
    settings = check_settings(for_all.provide()) if for_all.provide is not None else {}
    if options is not None:
        settings.update(options.settings)
    if seconds is not None and not settings:
        run_commands(connection, limit(seconds))
    if timeout is not None:
        connection.execution_options(**{TIMEOUT: timeout})
    note_begin(session, connection, timeout=timeout, left=left)
    if settings:
        if seconds is not None:  # all in one round trip; what the scope sets itself holds
            settings = dict.fromkeys(("statement_timeout", "lock_timeout"), str(milliseconds(seconds))) | settings
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        values = tuple(part for setting in settings.items() for part in setting)
        connection.exec_driver_sql(for_driver(f"SELECT {calls}", connection.dialect.paramstyle), values)
