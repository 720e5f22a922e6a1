"""``dbkit.testing`` as users have it: a test file of five lines, and each fixture."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import exc, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dbkit.testing import FakeClock

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dbkit_server(server):
    """This run's server serves here, too."""
    return server


@pytest.fixture(scope="session")
def dbkit_prepare():
    return lambda db: db.execute_query(
        "CREATE TABLE notes (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, note text)"
    )


COUNT = "SELECT count(*) FROM notes"


@pytest.mark.parametrize("again", (1, 2))
def test_each_test_has_a_fresh_prepared_database(db, again):
    assert db.execute_query(COUNT).scalar() == 0
    db.execute_query("INSERT INTO notes VALUES (1, 'committed')")


@pytest.mark.parametrize("again", (1, 2))
def test_the_code_under_test_may_commit_and_roll_back_and_nothing_stays(db_session, again):
    assert db_session.scalar(text(COUNT)) == 0
    db_session.execute(text("INSERT INTO notes VALUES (1, 'a')"))
    db_session.commit()
    db_session.execute(text("INSERT INTO notes VALUES (2, 'b')"))
    db_session.rollback()
    assert db_session.scalars(text("SELECT note FROM notes")).all() == ["a"]


@pytest.mark.parametrize("again", (1, 2))
def test_code_that_takes_a_manager_works_in_the_transaction(db_rolled_back, again):
    assert db_rolled_back.execute_query(COUNT).scalar() == 0
    with pytest.raises(ZeroDivisionError), db_rolled_back.session_scope() as session:
        session.execute(text("INSERT INTO notes VALUES (7, 'lost')"))
        raise ZeroDivisionError
    with db_rolled_back.session_scope() as session:
        session.execute(text("INSERT INTO notes VALUES (1, 'a')"))
    with pytest.raises(exc.ProgrammingError):
        db_rolled_back.execute_query("SELECT nothing FROM nowhere")
    assert db_rolled_back.execute_query(COUNT).scalar() == 1


class TestAnotherPreparation:
    @pytest.fixture(scope="class")
    @classmethod
    def dbkit_prepare(cls):
        return lambda db: db.execute_query("CREATE TABLE letters AS SELECT 'dear' AS letter")

    def test_has_databases_of_its_own(self, db, db_session):
        assert db.execute_query("SELECT letter FROM letters").scalar() == "dear"
        assert db_session.scalar(text("SELECT letter FROM letters")) == "dear"
        assert db_session.scalar(text("SELECT to_regclass('notes')")) is None


def test_a_factory_makes_its_rows_in_the_tests_transaction(db_session):
    factory = pytest.importorskip("factory")
    from dbkit.testing import ModelFactory

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        note: Mapped[str]

    class NoteFactory(ModelFactory):
        class Meta:
            model = Note

        id = factory.Sequence(int)
        note = "made"

    NoteFactory()
    assert db_session.scalar(text("SELECT note FROM notes")) == "made"


def test_a_factory_without_a_session_says_so():
    pytest.importorskip("factory")
    from dbkit.testing.rollback import current

    with pytest.raises(RuntimeError, match="db_session"):
        current()


def test_each_name_is_what_it_says_whichever_was_imported_first():
    import dbkit.testing

    for name in dbkit.testing.__all__:
        assert callable(getattr(dbkit.testing, name)), name


def test_killed_connections_are_replaced_unseen(db, db_faults):
    db.execute_query("SELECT 1")
    assert db_faults.kill_idle() == 1
    assert db.execute_query("SELECT 1").scalar() == 1


def test_a_database_that_takes_no_connection_takes_them_again(db, db_faults):
    with db_faults.refuse_connections(), pytest.raises(exc.OperationalError, match="not currently accepting"):
        db.execute_query("SELECT 1")
    assert db.execute_query("SELECT 1").scalar() == 1


def test_a_frozen_server_answers_nobody_and_then_goes_on(db, db_faults):
    from dbkit import PoolTimeoutError

    with db_faults.freeze(), pytest.raises((PoolTimeoutError, exc.OperationalError)):
        db.pool.borrow(timeout=0.5)
    assert db.execute_query("SELECT 1").scalar() == 1


def test_a_fake_clock_shows_what_it_is_told():
    clock = FakeClock(datetime(2031, 2, 3, tzinfo=UTC))
    assert (clock(), clock.now()) == (0.0, datetime(2031, 2, 3, tzinfo=UTC))
    clock.advance(1.5)
    clock.sleep(1.5)
    assert (clock(), clock.now()) == (3.0, datetime(2031, 2, 3, 0, 0, 3, tzinfo=UTC))
    assert clock.time() == clock.now().timestamp()
    with pytest.raises(ValueError, match="0 or more"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2031, 2, 3))


def test_a_file_of_five_lines_is_a_test(tmp_path):
    """In a process of its own, with a server of its own and Alembic's migrations."""
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    for name, content in {
        "alembic.ini": "[alembic]\nscript_location = %(here)s/migrations\n",
        "pytest.ini": "[pytest]\n",
        "migrations/env.py": """
            from alembic import context
            from dbkit import DatabaseConnectionManager
            from dbkit.migrate import run_migrations
            run_migrations(context, None, otherwise=DatabaseConnectionManager)
            """,
        "migrations/versions/one.py": """
            from alembic import op
            revision, down_revision = "one", None
            def upgrade(): op.execute("CREATE TABLE users (name text)")
            """,
        "test_users.py": """
            from sqlalchemy import text
            def test_a_user_is_stored(db_session):
                db_session.execute(text("INSERT INTO users VALUES ('Ada')"))
                db_session.commit()
                assert db_session.scalar(text("SELECT name FROM users")) == "Ada"
            """,
    }.items():
        (tmp_path / name).write_text(textwrap.dedent(content))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "dbkit_pytest", "-p", "no:pytest_alembic"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
        env=_environment(),
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def test_the_plugin_imports_nothing_but_pytest():
    code = "import sys, pytest, dbkit_pytest; assert not {'dbkit', 'sqlalchemy', 'alembic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=250)
