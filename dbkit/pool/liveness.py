"""Is the server still there? Asked without a round trip where that can be known without one."""

from __future__ import annotations

import os
import select
import socket
from typing import Any, Final

FRESH: Final = 0.02
"""Seconds. A connection given back this short a time ago is borrowed without any check: a server can vanish between
a check and its use just as well. Busy pools thus check nothing; on others ``peek`` costs half a microsecond."""

PING_TIMEOUT: Final = 5.0
"""Seconds a ping may take before the connection counts as dead. A frozen server answers nothing and no timeout of libpq
or of the kernel notices; the socket is shut down then, which ends the wait at once."""


class Peek:
    """Polls one connection's socket, without a round trip.

    A quiet socket of an idle connection means that nothing happened. A readable one means that the server said
    something: that it is going away, or merely a NOTIFY, so *ask* (ping) and do not discard.
    A driver or a test double without a real socket simply has no peek and always counts as quiet.
    """

    __slots__ = ("_connection", "_poll")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._poll: Any = None
        try:
            descriptor = connection.fileno()
            if isinstance(descriptor, int) and descriptor >= 0:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                self._poll = poll.poll
        except Exception:  # noqa: BLE001 - no fileno, no poll on this platform, or closed: then there is no peek
            self._poll = None

    def quiet(self) -> bool:
        """True if the server has said nothing since and the driver holds the connection for open."""
        if getattr(self._connection, "closed", 0):
            return False
        while self._poll is not None:
            try:
                return not self._poll(0)
            except RuntimeError:  # another thread peeks at this moment; it takes a microsecond
                continue
        return True


def is_open(connection: Any) -> bool:
    """Whether the driver holds the connection for open. Drivers that cannot tell are trusted."""
    return not getattr(connection, "closed", 0)


def fit_to_keep(connection: Any) -> bool:
    """Whether a connection that comes back may be used again: open, and in no transaction.

    A transaction still open after the reset was begun behind SQLAlchemy's back (``BEGIN`` in autocommit mode, say);
    the next borrower would work in it unknowingly. Costs no round trip. Drivers that cannot tell are trusted.
    """
    try:
        return not connection.closed and connection.get_transaction_status() == 0
    except AttributeError:
        return True


def shut_down(connection: Any) -> None:
    """End whatever a thread waits for on this connection, at once, from another thread.

    Works on a duplicate of the socket, so that the driver's own descriptor is never closed under its feet.
    """
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except Exception:  # noqa: BLE001 - closed meanwhile, or no real socket: nothing to shut down
        return
