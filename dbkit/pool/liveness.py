"""Is the server still there? Asked without a round trip where that can be known without one."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from dbkit.pool.internals import ping

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect

    from dbkit.drivers.base import Driver

PING_TIMEOUT: Final = 5.0
"""Seconds a ping may take before the connection counts as dead. A frozen server answers nothing and no timeout of libpq
or of the kernel notices; the socket is shut down then, which ends the wait at once."""

Peek = Callable[[int], list[tuple[int, int]]]
"""Polls one connection's socket for a number of milliseconds, without a round trip.

An empty list: the server has said nothing since the connection was last used, so all is well. Anything else: it said
something, that it goes away or a mere NOTIFY; so ping the connection, do not discard it. Two threads that peek at the
same connection at once get a ``RuntimeError``: peek again.
"""


def make_peek(driver: Driver, connection: Any) -> Peek | None:
    """How to peek at a connection; None where it has no socket that could be polled.

    Args:
        driver: the connection's.
        connection: as the pool has it, open.
    """
    descriptor = driver.descriptor(connection)
    if descriptor is None or not hasattr(select, "poll"):  # eventlet takes poll away
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not driver.reads_by_itself:
        return poll.poll

    def peek(milliseconds: int) -> list[tuple[int, int]]:
        return poll.poll(milliseconds) if driver.is_open(connection) else [(descriptor, select.POLLHUP)]

    return peek


def ask(driver: Driver, connection: Any, dialect: Dialect) -> bool:
    """Ping: whether the server answered, in one round trip. Leaves no transaction open.

    Raises:
        the driver's error, where the dialect does not take it for a lost connection.
    """
    try:
        answered = ping(dialect, connection)
    except NotImplementedError:  # a pool used without an engine
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT 1")
        finally:
            cursor.close()
        answered = True
    if answered:
        driver.leave_transaction(connection)
    return answered


def is_silent(peek: Peek) -> bool:
    """Whether the server has said nothing on this socket since the last answer."""
    while True:
        try:
            return not peek(0)
        except RuntimeError:  # another thread peeks at this moment; it takes a microsecond
            continue
