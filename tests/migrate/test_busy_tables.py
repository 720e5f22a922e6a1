"""A migration that needs a table others use: it lets them pass, and is tried again, until its deadline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from dbkit import DatabaseConnectionManager
from dbkit.migrate import RevisionFailedError, current

from .conftest import write_revision
from .test_lock import wait_until
from .test_migrate import exists

SESSION = (
    "SELECT current_setting('lock_timeout'), current_setting('client_connection_check_interval', true), "
    "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
)


@pytest.fixture
def reader(db, database, scripts):
    """A long transaction that reads the table ``made``, which the revision ``two`` alters."""
    db.migrate(script_location=scripts)
    write_revision(scripts, "two", "one", "op.execute('CREATE TABLE more ()')")
    write_revision(scripts, "three", "two", "op.execute('ALTER TABLE made ADD COLUMN y int')")
    with DatabaseConnectionManager(database, min_size=0, max_size=2) as other, other.engine.connect() as connection:
        connection.execute(text("SELECT * FROM made"))
        yield connection


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("dbkit.migrate.env.LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr("dbkit.migrate.retrying.FIRST_PAUSE", 0.1)


@pytest.mark.parametrize("each", (False, True), ids=("one transaction", "transaction_per_migration"))
def test_it_is_rolled_back_and_tried_again_until_the_table_is_free(db, reader, scripts, caplog, each):
    if each:
        env_py = scripts / "env.py"
        env_py.write_text(env_py.read_text().replace("otherwise=", "transaction_per_migration=True, otherwise="))
    with ThreadPoolExecutor(1) as threads, caplog.at_level("INFO", "dbkit.migrate"):
        migrating = threads.submit(db.migrate, "+2", script_location=scripts, timeout=120)
        wait_until(lambda: "two -> three waited 0.1 s for a table that others use" in caplog.text)
        with reader.engine.connect() as another:
            assert another.execute(text("SELECT * FROM made")).all() == []  # it does not stand in line for long
        assert not migrating.done()
        reader.rollback()
        migrating.result(120)
    assert current(db, script_location=scripts) == ("three",)
    assert db.execute_query(SESSION).one() == ("0", "0", 0)


def test_past_the_deadline_the_error_names_the_revision_and_the_schema_is_as_it_was(db, reader, scripts):
    with pytest.raises(RevisionFailedError, match="two -> three") as raised:
        db.migrate(script_location=scripts, timeout=0)
    assert "LockNotAvailable" in str(raised.value)
    assert (raised.value.revision, raised.value.undone) == ("three", True)
    assert not exists(db, "more")
    assert db.execute_query(SESSION).one() == ("0", "0", 0)


def test_a_revision_that_committed_in_its_middle_is_not_run_twice(db, reader, scripts):
    write_revision(
        scripts, "three", "two",
        "with op.get_context().autocommit_block():\n"
        "    op.execute('CREATE TABLE halfway ()')\n"
        "op.execute('ALTER TABLE made ADD COLUMN y int')",
    )  # fmt: skip
    with pytest.raises(RevisionFailedError, match="had been committed already") as raised:
        db.migrate(script_location=scripts, timeout=120)
    assert not raised.value.undone
    assert exists(db, "halfway")


def test_a_busy_pool_is_waited_for_as_long_as_a_migration_may(database, scripts):
    """The pool's own timeout is for requests."""
    with DatabaseConnectionManager(database, min_size=0, max_size=1, timeout=0.1) as db, ThreadPoolExecutor(1) as one:
        with db.pool.patience(120), db.engine.connect():
            migrating = one.submit(db.migrate, script_location=scripts, timeout=120)
            wait_until(lambda: db.stats().waiting == 1)
        migrating.result(120)
        assert exists(db, "made")
