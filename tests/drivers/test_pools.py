"""An ``ElasticPool`` on psycopg 3, and on drivers that dbkit does not know: the same promises, or a refusal at once."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import create_engine, exc, text

from dbkit.errors import SettingsError
from dbkit.pool.elastic import ElasticPool
from dbkit.session.query import execute_query
from dbkit.session.scopes import raw_connection

from ..pool.helpers import QUIET, Admin, at_rest, count_pings, eventually, stale

PSYCOPG = "postgresql+psycopg"
PG8000 = "postgresql+pg8000"


def backend(connection: Any) -> int:
    found: int = connection.scalar(text("SELECT pg_backend_pid()"))
    return found


# ---- psycopg 3


def test_discard_keeps_the_connection_and_leaves_nothing(engines, shared_database: str):
    engine = engines(shared_database, PSYCOPG, reset="discard")
    with engine.connect() as connection:
        pid = backend(connection)
        connection.execute(text("SET statement_timeout = '12345'"))
        connection.execute(text("CREATE TEMPORARY TABLE left_behind (n int)"))
        connection.execute(text("LISTEN left_behind"))
        connection.execute(text("NOTIFY left_behind"))
        connection.commit()
    for _ in range(3):
        with engine.connect() as connection:
            assert backend(connection) == pid
            assert connection.scalar(text("SHOW statement_timeout")) != "12345ms"
            assert connection.scalar(text("SELECT to_regclass('left_behind')")) is None
            assert list(connection.connection.driver_connection.notifies(timeout=0)) == []
    assert (engine.pool.stats().opens, engine.pool.stats().closes) == (1, {})


def test_statements_that_psycopg_prepared_survive_a_discard(engines, shared_database: str):
    """``DISCARD ALL`` drops them on the server; psycopg must not go on using their names."""
    engine = engines(shared_database, PSYCOPG, reset="discard")
    for _ in range(3):
        with engine.connect() as connection:
            for n in range(10):  # the sixth is prepared
                assert connection.scalar(text("SELECT CAST(:n AS int)"), {"n": n}) == n
            assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) > 0
    assert engine.pool.stats().opens == 1


def test_require_writer_refuses_a_read_only_server_with_the_dialects_own_error(engines, database: str):
    read_only = {"options": "-c default_transaction_read_only=on"}
    engine = engines(database, PSYCOPG, require_writer=True, connect_args=read_only)
    with pytest.raises(exc.OperationalError, match="session is read-only") as caught:
        engine.connect()
    assert isinstance(caught.value.orig, engine.dialect.loaded_dbapi.OperationalError)


def demote(engine: Any, database: str, admin: Admin) -> None:
    """Make the next transactions of the sessions there read-only, and those of new ones."""
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = on"))
        connection.commit()
    admin.rows(f"ALTER DATABASE {database.rpartition('/')[2]} SET default_transaction_read_only = on")


def test_require_writer_notices_a_write_that_was_refused(engines, database: str, admin: Admin):
    engine = engines(database, PSYCOPG, require_writer=True)
    demote(engine, database, admin)
    with engine.connect() as connection, pytest.raises(exc.DBAPIError) as caught:
        connection.execute(text("CREATE TABLE t (n int)"))
    assert caught.value.orig.sqlstate == "25006"
    assert caught.value.connection_invalidated
    eventually(lambda: engine.pool.stats().closes == {"invalidated": 1})


def test_require_writer_notices_a_write_past_sqlalchemy(engines, database: str, admin: Admin):
    engine = engines(database, PSYCOPG, require_writer=True)
    demote(engine, database, admin)
    with pytest.raises(engine.dialect.loaded_dbapi.Error), raw_connection(engine) as connection:
        connection.execute("CREATE TABLE t (n int)")
    eventually(lambda: engine.pool.stats().closes == {"invalidated": 1})


def test_a_borrowers_own_read_only_transaction_is_no_failover(engines, database: str):
    engine = engines(database, PSYCOPG, require_writer=True)
    with engine.connect().execution_options(postgresql_readonly=True) as connection:
        with pytest.raises(exc.DBAPIError) as caught:
            connection.execute(text("CREATE TABLE t (n int)"))
        assert not caught.value.connection_invalidated


def test_a_connection_killed_while_idle_is_replaced_silently(engines, shared_database: str, admin: Admin):
    engine = engines(shared_database, PSYCOPG)
    with engine.connect() as connection:
        pid = backend(connection)
    stale(engine.pool)
    admin.kill(pid)
    with engine.connect() as connection:
        assert backend(connection) != pid
    assert engine.pool.stats().closes == {"dead": 1}


def test_a_transaction_begun_behind_sqlalchemys_back_is_rolled_back(engines, shared_database: str):
    engine = engines(shared_database, PSYCOPG, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.info.transaction_status == 0
    assert engine.pool.stats().closes == {}  # psycopg 3 rolls back whatever is open, psycopg2 only what it began


# ---- drivers that dbkit does not know


@pytest.mark.parametrize(
    ("asked", "key"), [({"reset": "discard"}, "reset"), ({"require_writer": True}, "require_writer")]
)
@pytest.mark.parametrize("url", ["sqlite://", "postgresql+pg8000://"])
def test_a_promise_that_the_driver_cannot_keep_is_refused_at_once(url: str, asked: dict[str, Any], key: str):
    with pytest.raises(SettingsError, match=f"{key}.*(pysqlite|pg8000)") as caught:
        create_engine(url, poolclass=ElasticPool, **asked)
    assert isinstance(caught.value, exc.ArgumentError)
    assert [fault.key for fault in caught.value.faults] == [key]


def test_a_pool_without_a_dialect_cannot_promise_either():
    with pytest.raises(SettingsError, match="without a dialect"):
        ElasticPool(lambda: sqlite3.connect(":memory:"), reset="discard")


def test_sqlite_works(tmp_path: Any):
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=ElasticPool, **QUIET)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (n int)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    stale(engine.pool)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT n FROM t")) == 1
    assert execute_query(engine, "SELECT n + 1 FROM t").scalar() == 2
    with raw_connection(engine) as raw:
        raw.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(ValueError), raw_connection(engine) as raw:
        raw.execute("INSERT INTO t VALUES (3)")
        raise ValueError
    assert execute_query(engine, "SELECT count(*) FROM t").scalar() == 2
    engine.dispose()


def test_a_connection_without_a_socket_is_pinged_unless_it_was_used_just_now(tmp_path: Any):
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=ElasticPool, **QUIET | {"max_size": 1})
    pings = count_pings(engine)
    with engine.connect():
        pass
    stale(engine.pool)
    with engine.connect() as connection:
        assert pings == [connection.connection.dbapi_connection]
    assert engine.pool.stats().opens == 1
    engine.dispose()


def test_pg8000_hands_out_no_killed_connection_and_pings_leave_no_transaction(
    engines, shared_database: str, admin: Admin
):
    pytest.importorskip("pg8000")
    engine = engines(shared_database, PG8000)
    with engine.connect() as connection:
        pid = backend(connection)
    stale(engine.pool)
    with engine.connect() as connection:  # pinged, and the same
        state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        assert admin.rows(state, pid) == [("idle",)]
        assert backend(connection) == pid
    stale(engine.pool)
    admin.kill(pid)
    with engine.connect() as connection:
        assert backend(connection) != pid
    at_rest(engine.pool, size=1)
    assert engine.pool.stats().closes == {"dead": 1}
