"""Behind a pooler that lends server sessions by the transaction: one transaction holds lock and work, or it is refused.

The first tests tell dbkit that a pooler stands between, which takes nothing but the server. The last one runs a real
PgBouncer where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

from dbkit import DatabaseConnectionManager, MigrationError
from dbkit.migrate import PoolerError, current
from dbkit.migrate.lock import migration_lock
from dbkit.migrate.manners import behind_pooler

from ..bouncer import through_pgbouncer
from .conftest import write_revision
from .test_migrate import exists

NEEDED = "DB_MIGRATION_URL"
LEFT_BEHIND = (
    "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), current_setting('lock_timeout'), "
    "current_setting('client_connection_check_interval', true)"
)
IN_ITS_MIDDLE = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE early ()')"


@pytest.fixture
def pooled(monkeypatch):
    monkeypatch.setattr("dbkit.migrate.manners.behind_pooler", lambda _connection: True)


def test_a_direct_connection_is_seen_as_one(db):
    with db.engine.connect() as connection:
        assert not behind_pooler(connection)


def test_one_transaction_holds_the_lock_and_the_work(db, pooled, scripts):
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    write_revision(
        scripts, "two", "one",
        f"assert op.get_bind().exec_driver_sql(\"{held}\").scalar() == 1\n"
        "assert op.get_bind().exec_driver_sql('SHOW lock_timeout').scalar() == '2s'",
    )  # fmt: skip
    db.migrate(script_location=scripts)
    assert current(db, script_location=scripts) == ("two",)
    assert db.execute_query(LEFT_BEHIND).one() == (0, "0", "0")


def test_what_commits_in_its_middle_is_refused_and_rolled_back(db, pooled, scripts):
    write_revision(scripts, "two", "one", IN_ITS_MIDDLE)
    with pytest.raises(PoolerError, match=f"one -> two commits in its middle .*{NEEDED}"):
        db.migrate(script_location=scripts)
    assert not exists(db, "made")
    assert not exists(db, "early")
    assert db.execute_query(LEFT_BEHIND).one() == (0, "0", "0")


def test_a_transaction_per_migration_is_refused(db, pooled, scripts):
    env_py = scripts / "env.py"
    env_py.write_text(env_py.read_text().replace("otherwise=", "transaction_per_migration=True, otherwise="))
    with pytest.raises(PoolerError, match=f"transaction_per_migration.*{NEEDED}"):
        db.migrate(script_location=scripts)
    assert not exists(db, "made")


def test_the_lock_of_another_is_waited_for_outside_of_a_transaction(db, database, pooled, scripts):
    engine = create_engine(database)
    with engine.connect() as holder, migration_lock(holder, "alembic_version", timeout=0):
        with pytest.raises(MigrationError, match="still has the lock after"):
            db.migrate(script_location=scripts, timeout=0.2)
    engine.dispose()
    db.migrate(script_location=scripts)


# ---- the real thing


@pytest.fixture
def bouncer(database: str) -> Iterator[str]:
    """The URL of the database through PgBouncer in transaction mode, with two server sessions."""
    with through_pgbouncer(database) as url:
        yield url


@pytest.mark.parametrize("driver", ("psycopg2", "psycopg"))
def test_a_real_pgbouncer_is_seen_and_nothing_is_left_on_its_sessions(bouncer, database, scripts, driver):
    url = make_url(bouncer).set(drivername=f"postgresql+{driver}")
    with DatabaseConnectionManager(url, min_size=0, max_size=2) as db:
        for _ in range(4):
            db.migrate(script_location=scripts)
            db.downgrade("base", script_location=scripts)
        db.migrate(script_location=scripts)
        write_revision(scripts, "two", "one", IN_ITS_MIDDLE)
        with pytest.raises(PoolerError, match=NEEDED):
            db.migrate(script_location=scripts)
        with db.engine.connect() as one, db.engine.connect() as two:  # both of its sessions
            for connection in (one, two):
                assert connection.execute(text(LEFT_BEHIND)).one() == (0, "0", "0")
    with DatabaseConnectionManager(_with_direct(url, database), min_size=0) as db:
        db.migrate(script_location=scripts)
        assert current(db, script_location=scripts) == ("two",)


def _with_direct(url, database: str) -> dict[str, object]:
    return {
        "host": url.host, "port": url.port, "username": url.username, "database": url.database,
        "driver": url.get_driver_name(), "migration_url": database,
    }  # fmt: skip
