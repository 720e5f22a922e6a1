"""One process migrates at a time; the others wait, up to a deadline, and then find nothing to do."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.config import Config
from sqlalchemy import text

from dbkit import DatabaseConnectionManager, MigrationError
from dbkit.migrate import current
from dbkit.migrate.lock import lock_key, migration_lock

from .conftest import write_revision
from .test_command_line import start

HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


def wait_until(condition, seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def other(database):
    """Another process's manager, as far as the server can tell."""
    with DatabaseConnectionManager(
        {"application_name": "other"} | _details(database), min_size=0, max_size=2, timeout=60
    ) as manager:
        yield manager


def _details(url):
    from sqlalchemy import make_url

    parsed = make_url(url)
    return {
        "host": parsed.host, "port": parsed.port, "user": parsed.username, "password": parsed.password,
        "database": parsed.database,
    }  # fmt: skip


def test_the_key_never_changes():
    """Two releases that run side by side must agree on it."""
    assert lock_key("alembic_version") == -4315455648324183425
    assert lock_key("alembic_version") != lock_key("other.alembic_version")
    assert -(2**63) <= lock_key("alembic_version") < 2**63


def test_expiry_names_the_holder(db, other, scripts):
    with (
        other.engine.connect() as connection,
        migration_lock(connection, "alembic_version", timeout=1),
    ):
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(MigrationError, match=rf"pid {pid} 'other' of user .* still has the lock after"):
            db.migrate(script_location=scripts, timeout=0.2)
        with pytest.raises(MigrationError, match="still has the lock after"):
            db.migrate(script_location=scripts, timeout=0)
        connection.rollback()
        assert current(db.engine, script_location=scripts) == ()  # looking needs no lock
    assert db.execute_query(HELD).scalar() == 0
    db.migrate(script_location=scripts, timeout=0)


def test_another_version_table_is_another_lock(db, other):
    with other.engine.connect() as one, db.engine.connect() as two:
        with (
            migration_lock(one, "a", timeout=0),
            migration_lock(two, "b", timeout=0),
        ):
            pass


@pytest.fixture
def gate(other):
    """A lock in the database that the migration ``two`` waits for inside its transaction."""
    with other.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(7)"))
        connection.commit()
        yield connection
        connection.rollback()


def a_migration_is_at(gate) -> bool:
    waiting = gate.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
    gate.rollback()
    return waiting == 1


def open_up(gate) -> None:
    gate.execute(text("SELECT pg_advisory_unlock(7)"))
    gate.commit()


@pytest.fixture
def gated(scripts):
    write_revision(scripts, "two", "one", "op.execute('SELECT pg_advisory_xact_lock(7)')")
    return scripts


def test_the_one_who_waits_finds_nothing_to_do(db, database, gate, gated, tmp_path, caplog):
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/100%% scripts\npath_separator = os\n")
    failures = []

    def migrate() -> None:
        try:
            db.migrate(script_location=gated, timeout=200)
        except BaseException as error:
            failures.append(error)

    waiter = threading.Thread(target=migrate)
    with start("upgrade", "head", url=database, cwd=tmp_path) as first:
        wait_until(lambda: a_migration_is_at(gate))
        with caplog.at_level("INFO", "dbkit.migrate"):
            waiter.start()
            wait_until(lambda: failures or "waiting for another migration (pid" in caplog.text)
        assert failures == []
        assert waiter.is_alive()
        open_up(gate)
        assert first.communicate(timeout=240)
        assert first.returncode == 0
    waiter.join(200)
    assert failures == []
    assert current(db.engine, script_location=gated) == ("two",)
    assert db.execute_query(HELD).scalar() == 0


def test_threads_of_one_process_take_turns(db, database, gate, gated):
    """Alembic itself is not thread-safe: what a script runs on is global to the process."""
    failures = []

    def migrate(manager) -> None:
        try:
            manager.migrate(script_location=gated, timeout=200)
        except BaseException as error:
            failures.append(error)

    with DatabaseConnectionManager(database, min_size=0) as second:
        threads = [threading.Thread(target=migrate, args=(manager,)) for manager in (db, second, second)]
        threads[0].start()
        wait_until(lambda: a_migration_is_at(gate))
        for thread in threads[1:]:
            thread.start()
        with pytest.raises(MigrationError, match="Another thread"):
            second.migrate(script_location=gated, timeout=0.1)
        open_up(gate)
        for thread in threads:
            thread.join(200)
            assert not thread.is_alive()
    assert failures == []
    assert current(db.engine, script_location=gated) == ("two",)


@pytest.mark.parametrize("asked_by", ("script_location", "config"))
def test_current_does_not_wait_for_a_thread_that_migrates(database, other, gate, gated, asked_by):
    """It reads the version table that ``env.py`` named, also where that is not Alembic's usual one."""
    env_py = gated / "env.py"
    env_py.write_text(env_py.read_text().replace("otherwise=", "version_table='versions', otherwise="))
    config = Config()
    config.set_main_option("script_location", str(gated).replace("%", "%%"))
    arguments = {"script_location": gated} if asked_by == "script_location" else {"config": config}
    with DatabaseConnectionManager(database, min_size=0, max_size=2) as db, ThreadPoolExecutor(2) as threads:
        db.migrate("one", **arguments)
        migrating = threads.submit(db.migrate, "two", timeout=200, **arguments)
        try:
            wait_until(lambda: a_migration_is_at(gate))
            assert threads.submit(current, db.engine, **arguments).result(15) == ("one",)
            assert not migrating.done()
        finally:
            open_up(gate)
        migrating.result(200)
        assert current(db.engine, **arguments) == ("two",)


def test_current_says_so_where_it_cannot_know_the_version_table(database, gate, gated, tmp_path, monkeypatch):
    """Its ``env.py`` never ran in this process, and cannot run while another thread's migration does."""
    monkeypatch.setattr("dbkit.migrate.run.FIRST_LOOK", 0.0)
    unseen = tmp_path / "unseen"
    shutil.copytree(gated, unseen)
    with DatabaseConnectionManager(database, min_size=0, max_size=2) as db, ThreadPoolExecutor(1) as threads:
        migrating = threads.submit(db.migrate, script_location=gated, timeout=200)
        try:
            wait_until(lambda: a_migration_is_at(gate))
            with pytest.raises(MigrationError, match="Another thread of this process is still migrating"):
                current(db.engine, script_location=unseen)
        finally:
            open_up(gate)
        migrating.result(200)


def test_the_one_that_waits_does_not_hold_up_vacuum(db, other, monkeypatch):
    """A snapshot held while waiting would keep every row that dies meanwhile, and CREATE INDEX CONCURRENTLY waiting."""
    seen = []

    class Enough(Exception):
        pass

    with other.engine.connect() as holder, db.engine.connect() as waiter:
        waiter.execution_options(isolation_level="REPEATABLE READ")
        pid = waiter.scalar(text("SELECT pg_backend_pid()"))
        waiter.rollback()

        def look(_seconds: float) -> None:
            row = holder.execute(
                text("SELECT state, backend_xmin FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}
            ).one()
            seen.append(tuple(row))
            raise Enough

        with migration_lock(holder, "t", timeout=0):
            monkeypatch.setattr("dbkit.migrate.lock.time.sleep", look)
            with pytest.raises(Enough), migration_lock(waiter, "t", timeout=10):
                raise AssertionError
            monkeypatch.undo()
    assert seen == [("idle", None)]


def test_an_interrupt_while_waiting_leaves_nothing(db, other, scripts, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    with (
        other.engine.connect() as connection,
        migration_lock(connection, "alembic_version", timeout=0),
    ):
        monkeypatch.setattr("dbkit.migrate.lock.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            db.migrate(script_location=scripts, timeout=200)
        monkeypatch.undo()
        assert db.stats().in_use == 0
    assert db.execute_query(HELD).scalar() == 0


def test_it_goes_with_the_transaction_of_a_caller(db, other):
    with db.engine.connect() as connection, connection.begin():
        connection.execute(text("SELECT 1"))
        with migration_lock(connection, "t", timeout=0):
            pass
        with other.engine.connect() as rival, pytest.raises(MigrationError):
            with migration_lock(rival, "t", timeout=0):
                pass
    assert db.execute_query(HELD).scalar() == 0
