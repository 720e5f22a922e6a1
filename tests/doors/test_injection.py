"""Canaries of SQL through every entry that takes a value or a name: nothing of them is executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, MetaData, String, Table, exc, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dbkit import DatabaseConnectionManager, DbkitError
from dbkit.embedded import EmbeddedPostgres
from dbkit.models import Conventions, Repository

CANARIES = [
    "x'; DROP TABLE canary; --",
    'x"; DROP TABLE canary; --',
    "x') ; DROP TABLE canary; --",
    'x") FROM STDIN; DROP TABLE canary; --',
    "x*/; DROP TABLE canary; /*",
    "\\'; DROP TABLE canary; --",
    "%s; DROP TABLE canary; --",
    "%(x)s'; DROP TABLE canary; --",
    ":x; DROP TABLE canary",
    "$$; DROP TABLE canary; $$",
    "x\nx; DROP TABLE canary; --",
]


class Base(Conventions, DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "doors_thing"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String)


@pytest.fixture(scope="module", params=["psycopg2", "psycopg"])
def url(request: pytest.FixtureRequest, server: EmbeddedPostgres) -> Iterator[str]:
    """A database with the canary's table, by way of each driver."""
    name = f"doors_{request.param}"
    made = server.create_database(name).replace("postgresql://", f"postgresql+{request.param}://")
    with DatabaseConnectionManager(made, min_size=0) as db:
        db.execute_query("CREATE TABLE canary (id integer PRIMARY KEY, name text)")
        Thing.__table__.create(db.engine)
    yield made
    server.drop_database(name)


@pytest.fixture
def db(url: str) -> Iterator[DatabaseConnectionManager]:
    with DatabaseConnectionManager(url, min_size=0, max_size=2) as made:
        made.execute_query("TRUNCATE canary, doors_thing")
        made.execute_query("INSERT INTO canary VALUES (1, 'alive')")
        yield made


def session(db: Any, **options: Any) -> None:
    with db.session_scope(**options) as opened:
        opened.execute(text("SELECT 1"))


def provided(db: Any, name: str, value: Any) -> None:
    db.settings_for(lambda: {name: value})
    try:
        session(db)
    finally:
        db.settings_for(None)


ENTRIES: dict[str, Callable[[Any, str], Any]] = {
    "named value": lambda db, c: db.execute_query("SELECT CAST(:v AS text)", {"v": c}).scalar() == c,
    "positional value": lambda db, c: db.execute_query("SELECT CAST(%s AS text)", (c,)).scalar() == c,
    "value's name": lambda db, c: db.execute_query("SELECT :v", {c: 1}),
    "many": lambda db, c: db.execute_many("INSERT INTO canary VALUES (:i, :n)", [{"i": n, "n": c} for n in (8, 9)]),
    "list": lambda db, c: db.execute_query("SELECT CAST(:v AS text)", [{"v": c}, {"v": c}]),
    "stream": lambda db, c: list(db.stream_query("SELECT CAST(:v AS text)", {"v": c})),
    "expression": lambda db, c: db.execute_query(Thing.__table__.select().where(Thing.name == c)),
    "tag": lambda db, c: db.execute_query("SELECT 1", tags={"route": c}),
    "tag's name": lambda db, c: db.execute_query("SELECT 1", tags={c: "x"}),
    "tag of a bound query": lambda db, c: db.execute_query("SELECT :v", {"v": 1}, tags={"route": c, c: "x"}),
    "tag of a stream": lambda db, c: list(db.stream_query("SELECT 1", tags={"route": c})),
    "setting": lambda db, c: session(db, settings={"app.x": c}),
    "setting's name": lambda db, c: session(db, settings={c: "x"}),
    "role": lambda db, c: session(db, settings={"role": c}),
    "setting provided": lambda db, c: provided(db, "app.x", c),
    "setting's name provided": lambda db, c: provided(db, c, "x"),
    "isolation level": lambda db, c: session(db, isolation_level=c),
    "isolation level of a transaction": lambda db, c: db.run_in_transaction(lambda _: None, isolation_level=c),
    "timeout": lambda db, c: session(db, timeout=c),
    "timeout of a query": lambda db, c: db.execute_query("SELECT 1", timeout=c),
    "deadline": lambda db, c: db.deadline(c).__enter__(),
    "copied value": lambda db, c: db.copy_rows("canary", [(7, c)]),
    "copied table": lambda db, c: db.copy_rows(c, [(7, "x")]),
    "copied schema": lambda db, c: db.copy_rows((c, "canary"), [(7, "x")]),
    "copied column": lambda db, c: db.copy_rows("canary", [(7, "x")], columns=("id", c)),
    "copied key": lambda db, c: db.copy_rows("canary", [{"id": 7, c: "x"}]),
    "copied Table": lambda db, c: db.copy_rows(Table(c, MetaData()), [(7, "x")]),
    "upserted value": lambda db, c: db.upsert_rows("canary", [(6, c)], key="id"),
    "upserted table": lambda db, c: db.upsert_rows(c, [(6, "x")], key="id"),
    "upserted key": lambda db, c: db.upsert_rows("canary", [{"id": 6, c: "x"}], key=("id", c)),
    "upserted column": lambda db, c: db.upsert_rows("canary", [(6, "x")], key="id", columns=("id", c)),
    "repository's key": lambda db, c: Repository(db, Thing).get(c),
    "repository's condition": lambda db, c: Repository(db, Thing).list(Thing.name == c),
    "repository's value": lambda db, c: Repository(db, Thing).add(Thing(id=1, name=c)),
    "repository's place": lambda db, c: Repository(db, Thing).list(order_by=(Thing.name,), after=(c, 1)),
    "migration's revision": lambda db, c: db.migrate(c, script_location="migrations"),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_nothing_of_it_is_executed(db: Any, entry: str) -> None:
    for canary in CANARIES:
        try:
            ENTRIES[entry](db, canary)
        except (exc.SQLAlchemyError, DbkitError, ValueError, TypeError):
            pass  # refused, which is as good
    assert db.execute_query("SELECT name FROM canary WHERE id = 1").scalar() == "alive"
    assert db.stats().in_use == 0


@pytest.mark.parametrize("canary", CANARIES)
def test_values_arrive_as_they_are(db: Any, canary: str) -> None:
    db.copy_rows("canary", [(2, canary)])
    db.upsert_rows("canary", [(3, canary)], key="id")
    db.execute_query("INSERT INTO canary VALUES (4, :n)", {"n": canary}, tags={"route": canary})
    found = db.execute_query("SELECT name FROM canary WHERE id > 1 ORDER BY id").all()
    assert [name for (name,) in found] == [canary] * 3


@pytest.mark.parametrize("canary", CANARIES)
def test_names_are_exact(db: Any, canary: str) -> None:
    name, field = canary.replace("\n", " ")[:60], f"c {canary[:40]}"
    quote = db.engine.dialect.identifier_preparer.quote_identifier
    with db.raw_connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {quote(name)} (id integer PRIMARY KEY, {quote(field)} text)".replace("%%", "%"))
    assert db.copy_rows((name,), [{"id": 1, field: "x"}]) == 1
    assert db.upsert_rows((name,), [{"id": 1, field: "y"}], key="id") == 1
    assert db.execute_query("SELECT name FROM canary WHERE id = 1").scalar() == "alive"


def test_a_files_parameters_are_bound(db: Any, tmp_path: Path) -> None:
    path = tmp_path / "query.sql"
    path.write_text("SELECT CAST(:v AS text)")
    for canary in CANARIES:
        assert db.query_file(path, {"v": canary}).scalar() == canary


def test_a_databases_name_is_quoted(server: Any, db: Any) -> None:
    for canary in CANARIES:
        name = canary[:60]
        url = server.create_database(name)
        with DatabaseConnectionManager(url, min_size=0) as other:
            assert other.execute_query("SELECT current_database()").scalar() == name
        server.drop_database(name)
    assert db.execute_query("SELECT name FROM canary WHERE id = 1").scalar() == "alive"
