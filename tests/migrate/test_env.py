"""``env.py`` decides which database Alembic migrates: one that takes another than the program's is refused."""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, exc, make_url, text

from dbkit import DatabaseConnectionManager, MigrationError
from dbkit.embedded import EmbeddedPostgres
from dbkit.migrate import check, current
from dbkit.migrate.guard import LINES

from .conftest import write_revision

RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"

COMMANDS = {
    "upgrade": lambda db, ini: db.migrate(config=ini),
    "downgrade": lambda db, ini: db.downgrade("base", config=ini),
    "current": lambda db, ini: current(db.engine, config=ini),
    "check": lambda db, ini: check(db.engine, config=ini),
}


@pytest.fixture
def elsewhere(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of the database that ``alembic.ini`` names, which is not the program's."""
    yield server.create_database("elsewhere")
    server.drop_database("elsewhere")


@pytest.fixture
def initialized(tmp_path: Path) -> Callable[..., Path]:
    """Make a project as ``alembic init`` does, with one revision; return its ``alembic.ini``."""

    def make(url: str | None = None, template: str = "generic", folder: str = "project") -> Path:
        ini = tmp_path / folder / "alembic.ini"
        ini.parent.mkdir()
        command.init(Config(ini), str(ini.parent / "migrations"), template=template)
        if url is not None:
            ini.write_text(re.sub("^sqlalchemy.url = .*", f"sqlalchemy.url = {url}", ini.read_text(), flags=re.M))
        write_revision(ini.parent / "migrations", "one", None, "op.execute('CREATE TABLE made (x int)')")
        return ini

    return make


def relations(url: str) -> list[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = list(connection.scalars(text(RELATIONS)))
    engine.dispose()
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_env_py_of_alembic_init_is_refused_before_it_changes_either_database(
    db, database, elsewhere, initialized, name
):
    parts = make_url(elsewhere)
    ini = initialized(elsewhere.replace("%", "%%"))
    with pytest.raises(MigrationError) as raised:
        COMMANDS[name](db, ini)
    assert f"would migrate elsewhere on {parts.host}:{parts.port}" in str(raised.value)
    assert LINES in str(raised.value)
    assert (relations(elsewhere), relations(database)) == ([], [])


def test_the_env_py_of_alembic_init_does_not_touch_the_programs_logging(db, initialized, caplog):
    ini = initialized()
    env_py = ini.parent / "migrations" / "env.py"
    head, assignment, _ = env_py.read_text().partition("target_metadata = None\n")
    assert "fileConfig(config.config_file_name)" in head
    env_py.write_text(head + assignment + textwrap.dedent(LINES) + "\n")
    revision = "import logging; logging.getLogger('programs.own').info('told by the revision')"
    write_revision(ini.parent / "migrations", "two", "one", revision)

    mine, root = logging.getLogger("programs.own"), logging.root
    before = (root.handlers[:], root.level)
    with caplog.at_level("INFO"):
        during = (root.handlers[:], root.level)
        db.migrate(config=ini)
        assert (root.handlers, root.level, mine.disabled) == (*during, False)
    assert "told by the revision" in caplog.text
    with pytest.raises(MigrationError):
        db.migrate(config=initialized("postgresql://nobody@localhost/nothing", folder="another"))
    assert (root.handlers, root.level, mine.disabled) == (*before, False)


def test_the_lines_of_the_error_mend_the_env_py_of_alembic_init(db, database, elsewhere, initialized):
    ini = initialized(elsewhere)
    env_py = ini.parent / "migrations" / "env.py"
    head, assignment, _ = env_py.read_text().partition("target_metadata = None\n")
    env_py.write_text(head + assignment + textwrap.dedent(LINES) + "\n")
    db.migrate(config=ini)
    assert current(db.engine, config=ini) == ("one",)
    assert sorted(relations(database)) == ["alembic_version", "alembic_version_pkc", "made"]
    assert relations(elsewhere) == []


def test_the_async_env_py_of_alembic_init_is_refused_likewise(db, database, elsewhere, initialized):
    pytest.importorskip("psycopg")
    url = make_url(elsewhere).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    ini = initialized(url, template="async")
    with pytest.raises(MigrationError, match="would migrate elsewhere") as raised:
        db.migrate(config=ini)
    assert LINES in str(raised.value)
    assert (relations(elsewhere), relations(database)) == ([], [])


def test_a_password_of_the_other_database_is_not_shown(db, elsewhere, initialized):
    parts = make_url(elsewhere)
    url = (
        f"postgresql+psycopg2://{parts.host}:{parts.port}/elsewhere?user={parts.username}&password={parts.password}x5y"
    )
    ini = initialized(url)
    env_py = ini.parent / "migrations" / "env.py"
    # connects as the program may, but would be configured by the URL with the password
    code = env_py.read_text().replace("poolclass=pool.NullPool,", f"creator=lambda: connect({elsewhere!r}),")
    env_py.write_text("from psycopg2 import connect\n" + code)
    with pytest.raises(MigrationError, match="would migrate elsewhere") as raised:
        db.migrate(config=ini)
    assert "x5y" not in str(raised.value)


def test_the_placeholder_of_alembic_init_is_an_error_with_the_lines_too(db, database, initialized):
    with pytest.raises(MigrationError, match="failed with NoSuchModuleError") as raised:
        db.migrate(config=initialized())
    assert LINES in str(raised.value)
    assert isinstance(raised.value.__cause__, exc.NoSuchModuleError)
    assert relations(database) == []


@pytest.mark.parametrize(
    ("code", "words"),
    (
        ("", r"ended without a call of context\.run_migrations\(\)"),
        ("context.configure(connection=context.config.attributes['connection'])", "ended without a call"),
        ("context.configure(dialect_name='postgresql')\ncontext.run_migrations()", "no connection at all"),
    ),
)
def test_an_env_py_that_does_nothing_is_an_error(db, database, scripts, code, words):
    (scripts / "env.py").write_text("from alembic import context\n" + code)
    with pytest.raises(MigrationError, match=words) as raised:
        db.migrate(script_location=scripts)
    assert LINES in str(raised.value)
    assert relations(database) == []


RECIPES = {
    "the connection or an engine": """
        connectable = context.config.attributes.get("connection", None)
        if connectable is None:
            raise AssertionError
        context.configure(connection=connectable, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()
        """,
    "a transaction of its own": """
        connection = context.config.attributes["connection"]
        with connection.begin():
            context.configure(connection=connection)
            context.run_migrations()
        """,
    "another connection of the same pool": """
        with context.config.attributes["connection"].engine.connect() as connection:
            context.configure(connection)
            with context.begin_transaction():
                context.run_migrations()
        """,
    "options of its own": """
        connection = context.config.attributes["connection"].execution_options(isolation_level="SERIALIZABLE")
        context.configure(connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        """,
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_env_py_that_uses_the_given_connection_its_own_way_works(database, scripts, recipe):
    (scripts / "env.py").write_text("from alembic import context\n" + textwrap.dedent(RECIPES[recipe]))
    with DatabaseConnectionManager(database, min_size=0, max_size=2, timeout=10) as db:
        db.migrate(script_location=scripts)
        assert current(db.engine, script_location=scripts) == ("one",)
        db.downgrade("base", script_location=scripts)
        assert current(db.engine, script_location=scripts) == ()
        assert db.stats().in_use == 0


def test_an_error_of_env_py_itself_is_the_cause_until_the_connection_is_used(db, scripts):
    (scripts / "env.py").write_text("import no_such_module_of_mine")
    with pytest.raises(MigrationError, match="failed with ModuleNotFoundError") as raised:
        db.migrate(script_location=scripts)
    assert raised.value.__cause__.name == "no_such_module_of_mine"
    (scripts / "env.py").write_text(
        "from alembic import context\n"
        "context.configure(connection=context.config.attributes['connection'])\n"
        "raise ZeroDivisionError"
    )
    with pytest.raises(ZeroDivisionError):
        db.migrate(script_location=scripts)


def test_a_range_of_revisions_is_refused(db, scripts):
    for act in (db.migrate, db.downgrade):
        with pytest.raises(MigrationError, match="'base:head' is a range"):
            act("base:head", script_location=scripts)
