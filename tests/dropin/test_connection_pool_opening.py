"""``ConnectionPool`` as it is made: its numbers, its first connections, and connects that fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dbkit.dropin.connection_pool import ConnectionPool
from dbkit.dropin.errors import NoConnectionError
from dbkit.errors import SettingsError

from ..pool.helpers import eventually
from .mock_database import MockConnection, MockDatabase, numbers_of


def test_its_attributes_and_its_numbers(make_pool: Callable[..., ConnectionPool], mock: MockDatabase):
    pool = make_pool(min_size=1, max_size=3)
    assert (pool.database, pool.min_size, pool.max_size, pool.max_idle_time, pool.timeout) == (mock, 1, 3, 300.0, 10)
    assert pool.get_stats() == {
        "total_connections": 1,
        "available_connections": 1,
        "in_use_connections": 0,
        "max_size": 3,
        "min_size": 1,
        "closed": False,
    }


def test_numbers_that_make_no_sense_are_refused_by_their_own_names(mock: MockDatabase):
    with pytest.raises(SettingsError) as caught:
        ConnectionPool(mock, min_size=-1, max_size=0, max_idle_time=0, timeout=float("nan"))
    assert [fault.key for fault in caught.value.faults] == ["min_size", "max_size", "timeout", "max_idle_time"]
    with pytest.raises(SettingsError, match="above max_size"):
        ConnectionPool(mock, min_size=3, max_size=2)
    assert not mock.made


def test_the_first_connections_are_opened_at_once_and_in_parallel(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    all_three = threading.Barrier(3)
    mock.connecting = lambda: all_three.wait(10)
    assert numbers_of(make_pool(min_size=3, max_size=3)) == (3, 3, 0)


def test_if_one_of_the_first_cannot_be_opened_nothing_stays_open(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    class Refused(Exception):
        pass

    both = threading.Barrier(2)

    def connecting() -> None:
        if both.wait(10) == 0:
            raise Refused("not today")

    mock.connecting = connecting
    with pytest.raises(Refused, match="not today"):
        make_pool(min_size=2)
    eventually(lambda: len(mock.made) == 2 and not mock.open())


def test_if_the_first_are_not_open_in_time_it_is_a_timeout(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    gate = threading.Event()
    mock.connecting = lambda: gate.wait(10)
    with pytest.raises(NoConnectionError, match=r"^Timeout waiting for connection \(0\.05s\)"):
        make_pool(min_size=1, timeout=0.05)
    gate.set()
    eventually(lambda: [made.closes for made in mock.made] == [1])


def test_a_connect_that_fails_later_is_told_and_leaves_the_pool_well(
    make_pool: Callable[..., ConnectionPool], mock: MockDatabase
):
    pool = make_pool(min_size=1)
    first = pool.acquire()

    def refuse() -> None:
        raise KeyError("no such host")

    mock.connecting = refuse
    with pytest.raises(KeyError, match="no such host"):
        pool.acquire()
    mock.connecting = lambda: None
    pool.release(pool.acquire())
    pool.release(first)


def test_a_connect_that_fails_half_way_is_closed(mock: MockDatabase):
    class Half(MockConnection):
        def connect(self) -> None:
            super().connect()
            raise OSError("no such database")

    mock.create_connection = lambda: mock.made.append(Half(mock, 1)) or mock.made[-1]  # type: ignore
    with pytest.raises(OSError, match="no such database"):
        ConnectionPool(mock, min_size=1)
    assert [conn.closes for conn in mock.made] == [1]
