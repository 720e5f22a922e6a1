"""``ConnectionPool`` on DB-API connections: rolled back when they come back, replaced when they are lost."""

from __future__ import annotations

import select
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from dbkit.dropin.connection_pool import ConnectionPool

from ..pool.helpers import Admin, eventually, unique
from .mock_database import MockConnection, MockDatabase, numbers_of
from .psycopg2_database import Server


@pytest.fixture
def pool(shared_database: str) -> Iterator[ConnectionPool]:
    """A pool of psycopg2's connections, one at most."""
    made = ConnectionPool(Server(shared_database), min_size=1, max_size=1, timeout=10)
    yield made
    made.close()
    assert numbers_of(made) == (0, 0, 0)


def test_what_was_not_committed_is_rolled_back_and_manners_are_restored(pool: ConnectionPool):
    with pool.connection() as conn:
        pid = conn.get_backend_pid()
        conn.execute("CREATE TEMPORARY TABLE t (n integer)")
        conn.commit()
        conn.execute("INSERT INTO t VALUES (1)")
    with pool.connection() as conn:
        assert conn.get_backend_pid() == pid
        assert conn.execute("SELECT * FROM t") == []
        conn.rollback()
        conn.autocommit = True
    with pool.connection() as conn:
        assert conn.get_backend_pid() == pid
        assert not conn.autocommit


@pytest.mark.parametrize("when", ["idle", "out", "closed by its borrower"])
def test_a_session_that_was_lost_is_replaced(
    pool: ConnectionPool, admin: Admin, monkeypatch: pytest.MonkeyPatch, when: str
):
    with pool.connection() as conn:
        pid = conn.get_backend_pid()
        if when == "out":
            admin.kill(pid)
        elif when != "idle":
            conn.close()
    if when == "idle":
        admin.kill(pid)
    with pool.connection() as conn:
        assert conn.execute("SELECT 1") == [(1,)]
        assert conn.get_backend_pid() != pid


def test_a_notice_from_the_server_is_no_reason_to_replace_it(
    pool: ConnectionPool, admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    channel = unique("news")
    with pool.connection() as conn:
        pid = conn.get_backend_pid()
        conn.execute(f"LISTEN {channel}")
        conn.commit()
        socket = conn.fileno()
    admin.rows(f"NOTIFY {channel}")
    eventually(lambda: select.select([socket], [], [], 0)[0])
    with pool.connection() as conn:
        assert conn.get_backend_pid() == pid
        assert [notify.channel for notify in conn.notifies] == [channel]
        assert conn.get_transaction_status() == TRANSACTION_STATUS_IDLE  # the ping, a query, leaves none open


def test_sqlite(tmp_path: Any):
    class Lite:
        def create_connection(self) -> sqlite3.Connection:
            return sqlite3.connect(tmp_path / "db", check_same_thread=False)

    pool = ConnectionPool(Lite(), min_size=1, max_size=3)
    try:
        with pool.connection() as conn:
            conn.execute("CREATE TABLE t (n integer)")
            conn.execute("INSERT INTO t VALUES (1)")
            conn.commit()
            conn.execute("INSERT INTO t VALUES (2)")
        with pool.connection() as conn:
            assert conn.execute("SELECT n FROM t").fetchall() == [(1,)]
    finally:
        pool.close()


def test_a_rollback_that_fails_discards_the_connection(caplog: Any):
    class Sulking(MockConnection):
        def rollback(self) -> None:
            raise OSError("lost")

    mock = MockDatabase()
    mock.create_connection = lambda: mock.made.append(Sulking(mock, len(mock.made) + 1)) or mock.made[-1]  # type: ignore
    pool = ConnectionPool(mock, min_size=0, max_size=1)
    with pool.connection() as conn:
        assert conn.number == 1
    with pool.connection() as conn:
        assert conn.number == 2
    assert mock.made[0].closes == 1
    assert "could not be rolled back" in caplog.text
    pool.close()
