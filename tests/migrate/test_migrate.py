"""Migrations from a program: through the pool, up and down, and the connection goes back as it came."""

from __future__ import annotations

import logging
import os
import shutil

import pytest
from alembic.config import Config
from sqlalchemy import exc, inspect, text

from dbkit import MigrationError
from dbkit.migrate import RevisionFailedError, check, current, history, stamp

from .conftest import INI, write_revision


def exists(db, table: str) -> bool:
    return db.execute_query("SELECT to_regclass(:name)", {"name": table}).scalar() is not None


def session_state(db) -> tuple[object, ...]:
    """Return all that a migration could leave behind: locks, and settings of the session."""
    locks = db.execute_query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar()
    lock_timeout = db.execute_query("SHOW lock_timeout").scalar()
    with db.raw_connection() as connection:
        return locks, lock_timeout, connection.autocommit, connection.get_transaction_status()


CLEAN = (0, "0", False, 0)


def test_the_projects_own_migrations_up_and_down(db):
    db.migrate("head", config=INI)
    tables = set(inspect(db.engine).get_table_names())
    assert {"movies", "users", "orders", "alembic_version"} <= tables
    assert current(db.engine, config=INI)
    check(db.engine, config=INI)
    db.migrate(config=INI)  # nothing to do
    db.downgrade("-1", config=INI)
    with pytest.raises(MigrationError, match="not up to date"):
        check(db.engine, config=INI)
    db.migrate("+1", config=INI)
    db.downgrade("base", config=INI)
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    assert current(db.engine, config=INI) == ()
    db.migrate(config=INI)
    assert set(inspect(db.engine).get_table_names()) == tables
    assert session_state(db) == CLEAN


def test_check_names_what_the_models_lack(db):
    db.migrate(config=INI)
    db.execute_query("ALTER TABLE movies ADD COLUMN surprise text")
    with pytest.raises(MigrationError, match="surprise"):
        check(db.engine, config=INI)
    assert session_state(db) == CLEAN


def test_a_folder_of_scripts_is_enough(db, scripts):
    db.migrate(script_location=scripts)
    assert exists(db, "made")
    assert current(db.engine, script_location=scripts) == ("one",)
    db.downgrade("base", script_location=scripts)
    assert not exists(db, "made")


def test_alembics_own_config_is_taken_and_left_alone(db, scripts):
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["mine"] = 1
    db.migrate(config=config)
    assert exists(db, "made")
    assert config.attributes == {"mine": 1}


def test_the_ini_file_of_the_working_folder(db, scripts, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MigrationError, match=r"there is no .*alembic\.ini: give config=PATH"):
        db.migrate()
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = 100%% scripts\n")
    db.migrate()
    assert exists(db, "made")


def test_complaints_of_alembics_are_migration_errors(db, scripts, tmp_path):
    with pytest.raises(MigrationError, match="nowhere"):
        db.migrate("nowhere", script_location=scripts)
    with pytest.raises(MigrationError, match=r"no env\.py"):
        db.migrate(script_location=tmp_path)
    for down in ("base", "-1"):
        with pytest.raises(MigrationError, match=f"use downgrade\\('{down}'\\)"):
            db.migrate(down, script_location=scripts)
    shutil.rmtree(scripts / "versions")
    assert session_state(db) == CLEAN


def test_a_refused_migration_is_rolled_back_as_a_whole(db, scripts):
    write_revision(scripts, "two", "one", "op.execute('CREATE TABLE half (x int)')\nop.execute('SELECT 1/0')")
    with pytest.raises(RevisionFailedError, match=r"upgrade one -> two .*two\.py\) failed with DataError: ") as raised:
        db.migrate(script_location=scripts)
    assert "rolled back as a whole: the database is as it was" in str(raised.value)
    assert (raised.value.revision, raised.value.undone) == ("two", True)
    assert isinstance(raised.value.__cause__, exc.DataError)
    assert not exists(db, "made")
    assert not exists(db, "half")
    assert session_state(db) == CLEAN


def test_a_migration_that_loses_its_connection(db, scripts):
    write_revision(scripts, "two", "one", "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    with pytest.raises(RevisionFailedError, match="one -> two") as raised:
        db.migrate(script_location=scripts)
    assert isinstance(raised.value.__cause__, exc.OperationalError)
    assert not exists(db, "made")
    assert session_state(db) == CLEAN
    (scripts / "versions" / "two.py").unlink()
    db.migrate(script_location=scripts)
    assert exists(db, "made")


def test_an_interrupted_migration(db, scripts):
    write_revision(scripts, "two", "one", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        db.migrate(script_location=scripts)
    assert not exists(db, "made")
    assert session_state(db) == CLEAN


def test_an_autocommit_block_keeps_the_lock(db, scripts):
    code = (
        "with op.get_context().autocommit_block():\n"
        "    op.execute('CREATE INDEX CONCURRENTLY ix_made ON made (x)')\n"
        "    assert op.get_bind().exec_driver_sql('SHOW lock_timeout').scalar() == '0'\n"
        "count = \"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()\"\n"
        "assert op.get_bind().exec_driver_sql(count).scalar() == 1\n"
        "assert op.get_bind().exec_driver_sql('SHOW lock_timeout').scalar() == '2s'"
    )
    write_revision(scripts, "two", "one", code)
    db.migrate(script_location=scripts)
    assert exists(db, "ix_made")
    assert session_state(db)[:2] == CLEAN[:2]


def test_a_callers_connection_and_transaction(db, scripts):
    """Alembic's recipe: a connection in ``config.attributes``. The transaction, and the lock, are the caller's."""
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    with db.engine.connect() as connection:
        with connection.begin() as transaction:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            assert connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 1
            transaction.rollback()
    assert not exists(db, "made")
    assert session_state(db) == CLEAN
    config.attributes["connection"] = db.engine
    command.upgrade(config, "head")
    assert exists(db, "made")


def test_a_programs_logging_is_left_alone(db):
    mine = logging.getLogger("somebodys.own")
    handlers, level = logging.root.handlers[:], logging.root.level
    db.migrate(config=INI)
    assert not mine.disabled
    assert (logging.root.handlers, logging.root.level) == (handlers, level)


def test_no_environment_is_asked_when_a_connection_is_given(db, monkeypatch):
    monkeypatch.setitem(os.environ, "DATABASE_URL", "postgresql://nobody@nowhere.invalid/none")
    db.migrate(config=INI)
    assert exists(db, "movies")


# ---- history and stamp


def test_history_tells_each_revision_and_whether_the_database_has_it(db, scripts):
    write_revision(scripts, "two", "one", "pass")
    db.migrate("one", script_location=scripts)
    found = history(db, script_location=scripts)
    assert [(one.revision, one.down, one.applied, one.is_head) for one in found] == [
        ("two", ("one",), False, True),
        ("one", (), True, False),
    ]
    assert found[0].path.endswith("two.py")


def test_history_of_a_database_that_another_branch_migrated_says_so(db, scripts):
    write_revision(scripts, "two", "one", "pass")
    db.migrate(script_location=scripts)
    (scripts / "versions" / "two.py").unlink()
    with pytest.raises(MigrationError, match=r"the database is at two, and .* does not have that"):
        history(db, script_location=scripts)
    stamp(db, "one", purge=True, script_location=scripts)
    assert [one.applied for one in history(db, script_location=scripts)] == [True]


def test_stamp_notes_a_revision_and_runs_nothing(db, scripts):
    stamp(db, "head", script_location=scripts)
    assert current(db, script_location=scripts) == ("one",)
    assert not exists(db, "made")
    stamp(db.engine, "base", script_location=scripts)
    assert current(db, script_location=scripts) == ()
    with pytest.raises(MigrationError, match="nowhere"):
        stamp(db, "nowhere", script_location=scripts)
    assert session_state(db) == CLEAN
