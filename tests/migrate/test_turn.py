"""One thread at a time uses Alembic's globals; a thread that only looks does not wait for one that migrates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from dbkit import MigrationError
from dbkit.migrate.env import CONNECTION, TIMEOUT_KEY
from dbkit.migrate.turn import Project, Turn, VersionTable

PROJECT = Project(None, "alembic", "/migrations")
TABLE = VersionTable("versions", "app")


def test_the_turn_is_one_threads_at_a_time():
    turn = Turn()
    with turn.taken(0):
        with pytest.raises(MigrationError, match="Another thread of this process is still migrating after 0 s"):
            with turn.taken(0):
                raise AssertionError
    with pytest.raises(ZeroDivisionError), turn.taken(0):
        raise ZeroDivisionError
    with turn.taken(0):
        pass


def test_who_looks_takes_a_free_turn_though_the_table_is_known():
    turn = Turn()
    turn.remember(PROJECT, TABLE)
    with turn.taken_unless_known(PROJECT, 0) as table:
        assert table is None
        with pytest.raises(MigrationError), turn.taken(0):
            raise AssertionError


def test_who_looks_is_told_the_table_while_another_thread_has_the_turn():
    turn = Turn()
    turn.remember(PROJECT, TABLE)
    with turn.taken(0):
        for _ in range(2):
            with turn.taken_unless_known(PROJECT, 0) as table:
                assert table == TABLE
        with pytest.raises(MigrationError), turn.taken(0):
            raise AssertionError  # looking did not give the turn away


def test_a_config_with_attributes_of_its_own_is_not_remembered(tmp_path):
    """Its ``env.py`` may derive the version table from them. The two that dbkit puts there do not count."""
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    script = ScriptDirectory(tmp_path)
    known = Project.of(config, script)
    assert known == Project(None, "alembic", str(tmp_path))
    config.attributes.update({CONNECTION: object(), TIMEOUT_KEY: 1.0})
    assert Project.of(config, script) == known
    config.attributes["tenant"] = "a"
    assert Project.of(config, script) is None


def test_another_projects_table_is_no_answer():
    turn = Turn()
    turn.remember(PROJECT, TABLE)
    turn.remember(None, TABLE)
    with turn.taken(0):
        for project in (None, Project(None, "alembic", "/others")):
            with pytest.raises(MigrationError), turn.taken_unless_known(project, 0):
                raise AssertionError


def test_a_look_that_waits_is_told_as_soon_as_the_table_is_known():
    turn = Turn()

    def look() -> VersionTable | None:
        with turn.taken_unless_known(PROJECT, 60) as table:
            return table

    with ThreadPoolExecutor(1) as threads, turn.taken(0):
        answer = threads.submit(look)
        turn.remember(PROJECT, TABLE)
        assert answer.result(200) == TABLE


def test_a_look_that_waits_goes_on_when_the_turn_is_free():
    turn = Turn()

    def look() -> VersionTable | None:
        with turn.taken_unless_known(PROJECT, 60) as table:
            return table

    with ThreadPoolExecutor(1) as threads:
        with turn.taken(0):
            answer = threads.submit(look)
        assert answer.result(200) is None
