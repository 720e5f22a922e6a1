"""``PostgresqlConnection``: one object for the process, and a transaction for each ``with`` block.

All blocks of the process share that object, and ``__exit__`` must know which of them it ends. Neither the thread nor a
stack can tell: blocks of generators and coroutines interleave, and end on other threads than they began on (as those of
FastAPI's dependencies do). But Python looks ``__exit__`` up again for each ``with`` statement, right before it calls
``__enter__``, and keeps what it found until the block ends. So here each look-up finds an object of its own, an
``_Ending``, and what ``__enter__`` borrows belongs to that.

Invariants:

1. The ``_Ending`` that a thread looked up last belongs to the ``__enter__`` it calls next. Anything between on that
   thread (a signal handler, a finalizer) has whole blocks, which take away what they put on the stack. One that was
   looked up and dropped is dead, and one that was looked up elsewhere than in what calls ``__enter__`` is somebody's
   curiosity: neither counts.
2. A scope is referred to by its ``_Ending`` alone, and that by its ``with`` statement alone: no frame is kept alive,
   and a block that vanishes takes its scope with it, which rolls back and gives its connection back.
3. ``__enter__`` and ``__exit__`` called by hand have no ``_Ending`` in common. Their scopes form a stack for each
   thread, and must end in the reverse order on that thread.
"""

from __future__ import annotations

import sys
import threading
import weakref
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg2
from psycopg2.errors import InFailedSqlTransaction
from sqlalchemy import exc

from dbkit.dropin.errors import NotLentError
from dbkit.dropin.loans import as_dropin_error
from dbkit.dropin.shared_pool import SharedPool
from dbkit.dropin.unwrap import LEAK_AFTER
from dbkit.errors import Fault, SettingsError
from dbkit.pool.errors import LineFullError, PoolClosedError, PoolTimeoutError
from dbkit.settings import DatabaseSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from psycopg2 import extensions as driver

    Scope = AbstractContextManager[driver.connection]

_DEFAULTS: Final = MappingProxyType({"port": 5432, "min_conn": 1, "max_conn": 20, "leak_after": LEAK_AFTER})

_REQUIRED: Final = MappingProxyType({"DB_HOST": "host", "DB_USER": "username", "DB_NAME": "database"})

_pool = SharedPool("PostgresqlConnection", absent="there is no pool", present="there is a pool already")


def _load() -> DatabaseSettings:
    settings = DatabaseSettings.load(url_variable=None, defaults=_DEFAULTS)
    missing = [variable for variable, name in _REQUIRED.items() if getattr(settings, name) is None]
    if missing:
        raise SettingsError(
            Fault(variable, "is required; set it in the environment or in .env", origin="not set")
            for variable in missing
        )
    return settings


class _Ending:
    """The ``__exit__`` of one ``with`` statement."""

    __slots__ = ("__weakref__", "looked_up_in", "overriding", "scope", "spent")

    def __init__(self, frame: FrameType, overriding: Callable[..., Any] | None) -> None:
        self.looked_up_in = id(frame), frame.f_code
        self.overriding = overriding
        self.scope: Scope | None = None
        self.spent = False

    def belongs_to(self, frame: FrameType | None) -> bool:
        """Whether it was looked up in this frame, or in one that called it."""
        while frame is not None:
            if self.looked_up_in == (id(frame), frame.f_code):
                return True
            frame = frame.f_back
        return False

    def __call__(self, *details: Any) -> Any:
        """End the block: ``details`` are an exception's type, value and traceback, or None three times. An
        ``ExitStack``, which looks ``__exit__`` up in the class, passes the object before them."""
        if self.overriding is None:
            return self.end(*details)
        _here.ending_now.append(self)
        try:
            return self.overriding(*details)
        finally:
            _here.ending_now.pop()

    def end(self, *details: Any) -> None:
        """As ``__call__``, past a subclass's own ``__exit__``."""
        scope, self.scope = self.scope, None
        if scope is None:
            if self.spent or not _here.begun_by_hand:
                raise NotLentError(
                    "__exit__ was called without an __enter__ before it on this thread: use `with db as conn`"
                )
            scope = _here.begun_by_hand.pop()
        self.spent = True
        try:
            scope.__exit__(*details[-3:])
        except exc.PendingRollbackError as error:
            nothing_committed = InFailedSqlTransaction(str(error))
        else:
            return
        raise nothing_committed


class _EndingOfItsOwn:
    """Finds a new ``_Ending`` each time it is looked up; by ``super()``, the one whose block is being ended.

    Args:
        overriding: a subclass's own ``__exit__``; None for that of ``PostgresqlConnection``.
    """

    def __init__(self, overriding: Any = None) -> None:
        self._overriding = overriding

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., Any]:
        own = None if self._overriding is None else self._overriding.__get__(instance, owner)
        if _here.ending_now and self is not _defined(owner or type(instance)):  # by super()
            return own or _here.ending_now[-1].end
        ending = _Ending(sys._getframe(1), own)
        _here.looked_up.append(weakref.ref(ending, _here.looked_up.remove))
        return ending


def _defined(kind: type) -> object:
    """Found by a ``with`` statement on an object of this class."""
    return next(vars(base)["__exit__"] for base in kind.__mro__ if "__exit__" in vars(base))


class _Here(threading.local):
    """The blocks that are open in one thread."""

    def __init__(self) -> None:
        self.looked_up: list[weakref.ref[_Ending]] = []
        """Endings whose ``__enter__`` is about to be called."""
        self.begun_by_hand: list[Scope] = []
        self.ending_now: list[_Ending] = []
        """Those whose subclass's ``__exit__`` is running."""

    def ending(self, frame: FrameType) -> _Ending | None:
        """The one of the ``with`` statement that calls ``__enter__`` from this frame; None if none does."""
        while self.looked_up:
            try:
                ending = self.looked_up.pop()()
            except IndexError:  # a finalizer or a signal handler took it
                break
            if ending is not None and ending.belongs_to(frame):
                return ending
        return None


_here = _Here()


class PostgresqlConnection:
    """One object for the whole process, over one pool; each ``with`` block has a connection and a transaction.

    ::

        db = PostgresqlConnection()
        with db as conn, conn.cursor() as cur:
            cur.execute("INSERT INTO visits DEFAULT VALUES")

    The block is committed at its end, or rolled back if it raises, and the connection goes back whatever happens.
    Blocks may be nested, each with a connection of its own, in any number of threads, generators and coroutines. A
    forked child may go on using the object. ``__enter__`` and ``__exit__`` called by hand must be so on one thread, in
    reverse order.

    The settings come from ``DB_*`` variables and ``.env``: ``DB_HOST``, ``DB_USER`` and ``DB_NAME`` are required;
    ``DB_PORT`` is 5432, ``DB_MIN_CONN`` 1 and ``DB_MAX_CONN`` 20 if not set; ``DB_PASSWORD``, or
    ``IDENTITY_ENABLED=True`` to log in with an Azure identity.

    Making the object opens ``DB_MIN_CONN`` connections, the first time and after ``close_all()``.

    Raises:
        SettingsError: naming everything that is wrong with the settings, or every required variable that is missing.
        NoConnectionError: the connections were not open in time (``DB_TIMEOUT``, 30 seconds).
        psycopg2.OperationalError: the server could not be reached or refused.
    """

    def __new__(cls) -> Self:
        _pool.ensure(_load)
        instance: Self = _instances.setdefault(cls, super().__new__(cls))
        return instance

    def __init_subclass__(cls) -> None:
        if "__exit__" in vars(cls):
            cls.__exit__ = _EndingOfItsOwn(vars(cls)["__exit__"])

    def __enter__(self) -> driver.connection:
        """A connection for the block. Opens the pool again if it was closed.

        Raises:
            NoConnectionError: none could be had in time; the message names the holders.
            ClosedError: the pool was closed meanwhile.
            psycopg2.OperationalError: it could not be opened.
            psycopg2.errors.InFailedSqlTransaction: at the end of the block, if it ended well but an error that it did
                not pass on had aborted its transaction, so that nothing could be committed.
        """
        ending = _here.ending(sys._getframe(1))
        scope = _pool.ensure(_load).raw_connection()
        connection = _begin(scope)
        if ending is None:
            _here.begun_by_hand.append(scope)
        else:
            ending.scope = scope
        return connection

    __exit__ = _EndingOfItsOwn()

    @staticmethod
    def close_all() -> None:
        """Close the pool, if there is one, without waiting: blocks under way end as they would, and their connections
        are closed then. The next use opens a new pool, with the settings as they are by then."""
        _pool.close()


_instances: dict[type, Any] = {}


def _begin(scope: Scope) -> driver.connection:
    try:
        return scope.__enter__()
    except (PoolTimeoutError, LineFullError, PoolClosedError) as error:
        raise as_dropin_error(error) from error
    except exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg2.Error):
            raise
        drivers_own = error.orig
    raise drivers_own
