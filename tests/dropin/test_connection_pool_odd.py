"""``ConnectionPool`` over databases that say things otherwise than the document's."""

from __future__ import annotations

from typing import Any

import pytest

from dbkit.dropin import ConnectionPool, DropinError, NoConnectionError


class Plain:
    """A connection that must be opened, and does not tell whether it is."""

    connected = False

    def connect(self) -> None:
        self.connected = True

    def close(self) -> None:
        self.connected = False


class Asked(Plain):
    """One that tells by a method."""

    def is_open(self) -> bool:
        return self.connected


class Closed(Plain):
    """One that tells by another method."""

    def closed(self) -> bool:
        return not self.connected


class Database:
    def __init__(self, make: Any) -> None:
        self.create_connection = make


@pytest.mark.parametrize("kind", [Plain, Asked, Closed])
def test_a_connection_is_opened_however_it_tells(kind: type[Plain]):
    pool = ConnectionPool(Database(kind), min_size=0, max_size=1)
    with pool.connection() as conn:
        assert conn.connected
    with pool.connection() as again:
        assert again.connected
    assert pool.get_stats()["total_connections"] == 1
    pool.close()


class Dead:
    closed = True


@pytest.mark.parametrize(("made", "words"), [(None, "gave None"), (Dead(), "is closed and has no connect")])
def test_what_is_no_connection_is_refused(made: object, words: str):
    pool = ConnectionPool(Database(lambda: made), min_size=0, max_size=1)
    with pytest.raises(DropinError, match=words):
        pool.acquire()
    pool.close()


def test_no_time_left_is_no_time():
    pool = ConnectionPool(Database(Plain), min_size=1, max_size=1, timeout=0)
    with pool.connection(), pytest.raises(NoConnectionError, match="Timeout waiting for connection"):
        pool.acquire(timeout=-0.01)
    pool.close()
