"""One pool for the whole process, as the older classes keep one in a class attribute: made once, closed, made again.

Invariants:

1. There is a pool or there is none; nobody sees anything in between. It is put in place when its first connections
   are open, and taken away before it is closed.
2. The lock is held to make a pool and to take it away, never to borrow from it or to give back.
3. A connection goes back to the pool it came from, be that closed by now and another one in its place.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from dbkit.dropin.errors import AlreadyInitializedError, NotInitializedError
from dbkit.dropin.loans import lender_of
from dbkit.dropin.unwrap import lend_from, plain_manager
from dbkit.runtime.forks import start_afresh

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg2.extensions

    from dbkit.dropin.loans import Loans
    from dbkit.manager import DatabaseConnectionManager
    from dbkit.settings import DatabaseSettings


class SharedPool:
    """Holds the one ``DatabaseConnectionManager`` of a process, and lends its pool's connections.

    Thread-safe. After a fork the child may go on with it; what was lent before the fork stays the parent's.

    Args:
        label: what the pool is called in messages.
        absent: what to say where there is none.
        present: what to say where there is one already.
    """

    def __init__(self, label: str, *, absent: str, present: str) -> None:
        self._label = label
        self._absent = absent
        self._present = present
        self._open: tuple[DatabaseConnectionManager, Loans] | None = None
        self._all_loans: WeakSet[Loans] = WeakSet()
        self._failures = 0
        self._failure: Exception | None = None
        """The error that ended the last attempt to make the pool, and how many attempts ended so."""
        self._renew_lock()
        start_afresh(self, SharedPool._renew_lock)

    def _renew_lock(self) -> None:
        """At the start, and in a forked child, whose parent may have held it in another thread."""
        self._lock = threading.RLock()  # a signal handler may close what its thread is about to make

    def make(self, load: Callable[[], DatabaseSettings]) -> None:
        """Make the pool and open its ``min_size`` connections.

        Args:
            load: gathers the settings; called only if there is no pool yet.

        Raises:
            AlreadyInitializedError: there is one.
            SettingsError: from ``load``.
            psycopg2.OperationalError: a connection could not be opened. Then all are closed, and there is no pool.
            NoConnectionError: they were not open in time.
        """
        _, made = self._found_or_made(load)
        if not made:
            raise AlreadyInitializedError(self._present)

    def ensure(self, load: Callable[[], DatabaseSettings]) -> DatabaseConnectionManager:
        """The pool's manager; if there is no pool, it is made first, as by ``make``, and by one thread alone.

        Args:
            load: gathers the settings; called only if there is no pool yet.

        Raises:
            whatever ``make`` raises, but for ``AlreadyInitializedError``.
        """
        (manager, _), _ = self._found_or_made(load)
        return manager

    def _found_or_made(
        self, load: Callable[[], DatabaseSettings]
    ) -> tuple[tuple[DatabaseConnectionManager, Loans], bool]:
        """The pool, and whether this call made it."""
        failures = self._failures
        found = self._open
        if found is not None:
            return found, False
        with self._lock:
            if self._open is not None:
                return self._open, False
            self._open = made = self._opened(load, failures)
            return made, True

    def _opened(
        self, load: Callable[[], DatabaseSettings], failures_seen: int
    ) -> tuple[DatabaseConnectionManager, Loans]:
        if self._failure is not None and self._failures != failures_seen:
            raise self._failure.with_traceback(None)  # of the attempt waited for: another would take its time once more
        try:
            made = self._make(load())
        except Exception as error:
            self._failure = error
            self._failures += 1
            raise
        self._failure = None
        return made

    def _make(self, settings: DatabaseSettings) -> tuple[DatabaseConnectionManager, Loans]:
        manager = plain_manager(settings)
        loans = lend_from(manager, self._label)
        try:
            loans.warm_up()
        except BaseException:
            manager.close_connections(timeout=0)
            raise
        self._all_loans.add(loans)
        return manager, loans

    def is_open(self) -> bool:
        """Whether there is a pool."""
        return self._open is not None

    def borrow(self) -> psycopg2.extensions.connection:
        """A connection, until it is given back; waits for one while all are out.

        Raises:
            NotInitializedError: there is no pool.
            NoConnectionError: none could be had in time; the message names the holders.
            psycopg2.OperationalError: it could not be opened.
        """
        lent: Any = self._current().borrow()
        return lent  # type: ignore[no-any-return]  # a call to cast() would be one more place to be struck from outside

    def give_back(self, connection: object) -> None:
        """Take a connection back; one of a pool that was closed meanwhile is closed.

        Raises:
            NotLentError: it is none of this pool's, or it was given back before; nothing happens to it.
            NotInitializedError: there is no pool, nor was it lent by one that is closed by now.
        """
        lender = lender_of(connection)
        if lender is None or lender not in self._all_loans:
            lender = self._current()  # which refuses it
        lender.give_back(connection)

    def _current(self) -> Loans:
        found = self._open
        if found is None:
            raise NotInitializedError(self._absent)
        return found[1]

    def close(self) -> bool:
        """Close the pool, if there is one, without waiting: what is out is closed when it comes back.

        Returns:
            Whether there was one.
        """
        with self._lock:
            found, self._open = self._open, None
        if found is None:
            return False
        found[0].close_connections(timeout=0)
        return True
