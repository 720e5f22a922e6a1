"""Ctrl-C in the middle of a statement: the server is asked to cancel it.

Python runs a signal's handler between two of its own instructions, and psycopg2 waits for the server in C. So a thread
listens to the interpreter's wake-up descriptor, which is written to the moment the signal arrives, and cancels the
statement; the driver returns, and ``KeyboardInterrupt`` comes out of it as usual.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dbkit.drivers import for_dialect

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger("dbkit.migrate")


@contextmanager
def cancelled_by_interrupt(connection: Connection) -> Iterator[None]:
    """Cancel the statement that runs on the connection when Ctrl-C comes in the block.

    A connection on which a statement was cancelled is not used again: the cancel might strike the next borrower's.
    Only a process's main thread hears of Ctrl-C; elsewhere, and where Ctrl-C is ignored, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    try:
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    except ValueError:  # a subinterpreter
        ears.close()
        mouth.close()
        yield
        return
    listener = _Listener(ears, before, connection)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()
        listener.join()
        ears.close()
        if listener.cancelled and not connection.closed and not connection.invalidated:
            connection.invalidate()


class _Listener(threading.Thread):
    """Reads the numbers of signals, passes them on to who listened before, and cancels at Ctrl-C's."""

    def __init__(self, ears: socket.socket, before: int, connection: Connection) -> None:
        super().__init__(name="dbkit-migrate-interrupt", daemon=True)
        self._ears = ears
        self._before = before
        self._driver = for_dialect(connection.dialect)
        self._connection: Any = connection.connection.driver_connection
        self.cancelled = False

    def run(self) -> None:
        while numbers := self._ears.recv(64):
            if self._before != -1:
                try:
                    os.write(self._before, numbers)
                except OSError:
                    logger.debug("A signal could not be passed on.", exc_info=True)
            if signal.SIGINT in numbers:
                self.cancelled = True
                try:
                    self._driver.cancel(self._connection)
                except Exception:
                    logger.debug("The statement could not be cancelled.", exc_info=True)
