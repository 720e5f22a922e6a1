"""The README runs as written, but for the server's address."""

from __future__ import annotations

import asyncio
import re
import warnings
from decimal import Decimal

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, inspect, text
from sqlalchemy.orm import registry

from dbkit import DatabaseConnectionManager
from dbkit.core.policy import NAMES, PoolPolicy
from dbkit.embedded import EmbeddedPostgres

from .blocks import ROOT, block, blocks_of

PAGE = "README.md"
README = (ROOT / PAGE).read_text(encoding="utf-8")

ENV = "from alembic import context\n\ntarget_metadata = None\n" + block(PAGE, "run_migrations(").code


class User:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def users(server, database):
    table = Table("users", MetaData(), Column("id", Integer, primary_key=True), Column("name", String))
    mapper = registry()
    mapper.map_imperatively(User, table)
    server.execute(
        "CREATE TABLE users (id serial PRIMARY KEY, name text, active boolean DEFAULT true)",
        database=database.rsplit("/", 1)[1],
    )
    yield
    mapper.dispose()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's own project: Alembic set up, with nothing to migrate yet."""
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    (tmp_path / "migrations" / "env.py").write_text(ENV)
    monkeypatch.chdir(tmp_path)


def test_the_ten_lines(users, project, database, capsys):
    code = block(PAGE, "db.migrate(").on(database)
    assert database in code.code
    names: dict[str, object] = {"User": User}
    code.run(names)
    assert names["db"].engine.pool.stats().size == 0
    code.run(names)
    assert "1 Ada" in capsys.readouterr().out


def test_the_pool_alone(database):
    names: dict[str, object] = {}
    block(PAGE, "poolclass=ElasticPool").on(database).run(names)
    engine = names["engine"]
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_on_an_event_loop(users, database, capsys):
    names: dict[str, object] = {"text": text}
    block(PAGE, "AsyncDatabaseConnectionManager(url").run(names)
    with DatabaseConnectionManager(database) as db:
        db.execute_query("INSERT INTO users (name) VALUES ('Ada')")
        asyncio.run(names["main"](database))  # type: ignore[operator]
        assert db.execute_query("SELECT active FROM users").scalar() is False
    assert capsys.readouterr().out == "Ada\n"


def test_what_an_application_does_all_day(database):
    with DatabaseConnectionManager(database) as db:
        db.execute_query("CREATE TABLE films (name text PRIMARY KEY, price numeric)")
        names: dict[str, object] = {"db": db, "text": text}
        block(PAGE, "db.copy_rows(").run(names)
        assert names["names"] == ["Metropolis", "Nosferatu"]
        assert [tuple(row) for row in names["cheap"]] == [("Metropolis", Decimal("4.50"))]
        assert db.pool.stats().in_use == 0


def test_in_fastapi(users, database):
    db = DatabaseConnectionManager(database)
    names: dict[str, object] = {"db": db, "User": User}
    block(PAGE, "lifespan=lifespan(db)").run(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another HTTP library
        from fastapi.testclient import TestClient
    with TestClient(names["app"]) as client:  # type: ignore[arg-type]
        assert client.post("/users/Ada").status_code == 200
        assert db.execute_query("SELECT name FROM users").scalar() == "Ada"
        assert client.get("/readyz").status_code == 200


def test_the_token(monkeypatch):
    monkeypatch.setattr("psycopg2.connect", lambda **_: pytest.fail("nobody asked"))
    names: dict[str, object] = {"DatabaseConnectionManager": DatabaseConnectionManager}
    block(PAGE, "AzureCredential()").run(names)
    assert names["db"].settings.route.verified
    names["db"].close_connections()


def test_a_server_of_ones_own():
    names: dict[str, object] = {"DatabaseConnectionManager": DatabaseConnectionManager}
    block(PAGE, "EmbeddedPostgres.start()").run(names)
    assert isinstance(names["server"], EmbeddedPostgres)
    assert not names["server"].running
    names["db"].close_connections()


def test_no_block_is_left_out():
    parts = [
        "db.migrate(",
        "run_migrations(",
        "poolclass=ElasticPool",
        "db.copy_rows(",
        "AsyncDatabaseConnectionManager(url",
        "lifespan=lifespan(db)",
        "AzureCredential()",
        "EmbeddedPostgres.start()",
    ]
    assert [one.code for one in blocks_of(PAGE) if one.language == "python"] == [
        block(PAGE, part).code for part in parts
    ]


def test_the_table_of_settings_has_every_number_and_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| \w+ \| ([\w.]+) \|", README, re.MULTILINE))
    assert tuple(rows) == NAMES
    for name, default in rows.items():
        expected = getattr(PoolPolicy(), name)
        assert default == "none" if expected is None else float(default) == expected
