"""``reset``: what one borrower leaves in the session, and what the next one finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from sqlalchemy import Connection, Engine, create_engine, exc, text

from dbkit.embedded import EmbeddedPostgres
from dbkit.errors import SettingsError
from dbkit.pool.elastic import ElasticPool

from .helpers import QUIET, Admin, at_rest, engine_on, eventually, pid_of, sqlalchemy_url, unique
from .runtimes import on_both, on_each_runtime

ONE = QUIET | {"max_size": 1}


@contextmanager
def on_one_backend(url: str, **arguments: Any) -> Iterator[Engine]:
    """An engine of one connection that is the same from the first borrow to the last."""
    with engine_on(url, **ONE, **arguments) as engine:
        with engine.connect() as connection:
            pid = pid_of(connection)
        yield engine
        with engine.connect() as connection:
            assert pid_of(connection) == pid
        assert engine.pool.stats().opens == 1


def leave_everything(connection: Connection, role: str) -> None:
    """Leave what a rollback does not clear, for this is committed."""
    connection.execute(text(f"SET ROLE {role}"))
    connection.execute(text("SET statement_timeout = '12345'"))
    connection.execute(text("CREATE TEMPORARY TABLE left_behind (n int)"))
    connection.execute(text("SELECT pg_advisory_lock(4711)"))
    connection.execute(text("LISTEN left_behind"))
    connection.execute(text("PREPARE left_behind AS SELECT 1"))
    connection.commit()


def what_is_left(engine: Engine) -> dict[str, Any]:
    """What the next borrower finds."""
    with engine.connect() as connection:
        return {
            "role": connection.scalar(text("SELECT current_user")),
            "timeout": connection.scalar(text("SHOW statement_timeout")),
            "tables": connection.scalar(text("SELECT count(*) FROM pg_class WHERE relname = 'left_behind'")),
            "locks": connection.scalar(
                text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            ),
            "channels": list(connection.scalars(text("SELECT pg_listening_channels()"))),
            "statements": connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")),
        }


@pytest.fixture(scope="module")
def role(server: EmbeddedPostgres) -> Iterator[str]:
    server.execute("CREATE ROLE left_behind_role")
    server.execute("GRANT TEMPORARY ON DATABASE shared TO left_behind_role")
    yield "left_behind_role"
    server.execute("DROP OWNED BY left_behind_role", database="shared")
    server.execute("DROP ROLE left_behind_role")


@on_both
def test_discard_leaves_nothing(shared_database: str, role: str):
    with on_one_backend(shared_database, reset="discard") as engine:
        clean = what_is_left(engine)
        assert clean["timeout"] != "12345ms"
        with engine.connect() as connection:
            leave_everything(connection, role)
        assert what_is_left(engine) == clean
        assert clean | {"tables": 0, "locks": 0, "channels": [], "statements": 0} == clean


@on_both
def test_the_default_leaves_it_all_as_sqlalchemy_does(shared_database: str, role: str):
    with on_one_backend(shared_database) as engine:
        with engine.connect() as connection:
            leave_everything(connection, role)
        assert what_is_left(engine) == {
            "role": role,
            "timeout": "12345ms",
            "tables": 1,
            "locks": 1,
            "channels": ["left_behind"],
            "statements": 1,
        }
        with engine.connect() as connection:  # but an open transaction is rolled back, and all that was set in it
            connection.execute(text("RESET ROLE"))
            connection.commit()
            connection.execute(text("SET statement_timeout = '777'"))
        assert what_is_left(engine)["timeout"] == "12345ms"


@on_each_runtime
def test_an_uncommitted_transaction_is_rolled_back_first(shared_database: str):
    with on_one_backend(shared_database, reset="discard") as engine:
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE never_committed (n int)"))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT to_regclass('never_committed')")) is None


def test_notifications_heard_by_one_are_not_the_next_ones(shared_database: str):
    with on_one_backend(shared_database, reset="discard") as engine:
        with engine.connect() as connection:
            connection.execute(text("LISTEN heard"))
            connection.execute(text("NOTIFY heard"))
            connection.commit()
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            driver.poll()
            assert driver.notifies == []


@pytest.mark.parametrize("isolation_level", [None, "AUTOCOMMIT", "SERIALIZABLE", "READ COMMITTED"])
def test_the_connections_mode_is_as_before(shared_database: str, isolation_level: str | None):
    arguments = {} if isolation_level is None else {"isolation_level": isolation_level}
    with on_one_backend(shared_database, reset="discard", **arguments) as engine:
        found = []
        for _ in range(3):
            with engine.connect() as connection:
                driver = connection.connection.driver_connection
                found.append((driver.autocommit, driver.isolation_level, connection.get_isolation_level()))
        assert found[0] == found[1] == found[2]
        assert found[0][0] == (isolation_level == "AUTOCOMMIT")
        if isolation_level not in (None, "AUTOCOMMIT"):
            assert found[0][2] == isolation_level


@on_both
def test_one_borrowers_isolation_level_is_not_the_next_ones(shared_database: str):
    with on_one_backend(shared_database, reset="discard") as engine:
        for options in ({"isolation_level": "AUTOCOMMIT"}, {"isolation_level": "SERIALIZABLE"}):
            with engine.connect().execution_options(**options) as connection:
                connection.scalar(text("SELECT 1"))
            with engine.connect() as connection:
                assert connection.get_isolation_level() == "READ COMMITTED"
                assert not connection.connection.driver_connection.autocommit


@on_both
def test_a_connect_time_option_survives(shared_database: str):
    given = {"options": "-c statement_timeout=4321"}
    with on_one_backend(shared_database, reset="discard", connect_args=given) as engine:
        for _ in range(2):
            with engine.connect() as connection:
                assert connection.scalar(text("SHOW statement_timeout")) == "4321ms"
                connection.execute(text("SET statement_timeout = 1"))
                connection.commit()


def test_the_drivers_encoding_and_the_servers_agree(shared_database: str):
    """``DISCARD ALL`` resets the client's encoding, and psycopg2 does not notice: text would be garbled silently."""
    with on_one_backend(shared_database, reset="discard", client_encoding="latin1") as engine:
        for _ in range(2):
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 'é' || chr(233)")) == "éé"
    with on_one_backend(shared_database, reset="discard") as engine:
        for spoil in (
            lambda driver: driver.set_client_encoding("LATIN1"),
            lambda driver: driver.cursor().execute("SET client_encoding TO latin1; COMMIT"),
        ):
            with engine.connect() as connection:
                spoil(connection.connection.driver_connection)
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 'é' || chr(233)")) == "éé"


@on_each_runtime
def test_dates_are_read_on_a_server_with_a_date_style_of_its_own(server: EmbeddedPostgres, database: str):
    name = database.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} SET DateStyle TO 'SQL, DMY'")
    with on_one_backend(database, reset="discard") as engine:
        for _ in range(2):
            with engine.connect() as connection:
                assert str(connection.scalar(text("SELECT date '2024-02-03'"))) == "2024-02-03"


class Undiscardable(psycopg2.extensions.cursor):
    """A cursor on which ``DISCARD ALL`` fails."""

    def execute(self, query: Any, arguments: Any = None) -> None:
        if query == "DISCARD ALL":
            super().execute("SELECT 1 / 0")
        super().execute(query, arguments)


def test_a_failing_discard_costs_that_connection_only(shared_database: str, admin: Admin):
    name = unique("undiscardable")
    numbers = QUIET | {"max_size": 2}
    with engine_on(shared_database, name=name, reset="discard", **numbers) as engine:
        with engine.connect() as bad, engine.connect() as good:
            pids = pid_of(bad), pid_of(good)
            bad.connection.driver_connection.cursor_factory = Undiscardable
        eventually(lambda: admin.pids(name) == {pids[1]})
        at_rest(engine.pool, size=1, idle=1)
        assert engine.pool.stats().closes == {"unfit": 1}
        with engine.connect() as connection:
            assert pid_of(connection) == pids[1]


@on_each_runtime
def test_a_dead_connection_is_not_kept(shared_database: str, admin: Admin):
    with engine_on(shared_database, reset="discard", **ONE) as engine:
        with engine.connect() as connection:
            admin.kill(pid_of(connection))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().opens == 2


@pytest.mark.parametrize("bad", ["discards", "", None, True, "DISCARD"])
def test_a_bad_value_is_refused(shared_database: str, bad: Any):
    with pytest.raises(SettingsError, match="reset") as caught:
        create_engine(sqlalchemy_url(shared_database), poolclass=ElasticPool, reset=bad)
    assert isinstance(caught.value, exc.ArgumentError)
    assert [fault.key for fault in caught.value.faults] == ["reset"]


@on_each_runtime
def test_it_is_carried_to_the_engines_next_pool(shared_database: str):
    with engine_on(shared_database, reset="discard", **ONE) as engine:
        engine.dispose()
        with engine.connect() as connection:
            connection.execute(text("SET statement_timeout = 99"))
            connection.commit()
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) != "99ms"
