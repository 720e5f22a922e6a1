"""``execute_many``, ``query_file``, tags and template strings, against a server."""

from __future__ import annotations

import itertools
import types

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, event, exc, func, insert, select

from dbkit import DatabaseConnectionManager
from dbkit.session import templates
from dbkit.session.many import execute_many
from dbkit.session.query import execute_query
from dbkit.session.query_file import query_file
from dbkit.session.stream import stream_query
from dbkit.settings import DatabaseSettings


def count(engine, table: str) -> int:
    return execute_query(engine, f"SELECT count(*) FROM {table}").scalar()


@pytest.mark.parametrize("form", ["named", "positional", "executable"])
def test_a_generator_of_rows_is_sent_in_batches(engine, table, form):
    movies = Table(table, MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))
    query = {
        "named": f"INSERT INTO {table} VALUES (:id, :name)",
        "positional": f"INSERT INTO {table} VALUES (%s, %s)",
        "executable": insert(movies),
    }[form]
    rows = ((n, str(n)) if form == "positional" else {"id": n, "name": str(n)} for n in range(25))
    assert execute_many(engine, query, rows, batch=10) == 25
    assert execute_many(engine, query, [], batch=10) == 0
    assert execute_query(engine, f"SELECT sum(id), count(name) FROM {table}").one() == (300, 25)


def test_it_is_all_or_nothing(engine, table):
    query = f"INSERT INTO {table} VALUES (%s, %s)"
    with pytest.raises(exc.IntegrityError):
        execute_many(engine, query, itertools.chain(((n, "") for n in range(25)), [(0, "again")]), batch=10)

    def broken():
        yield from ((n, "") for n in range(25))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute_many(engine, query, broken(), batch=10)
    with pytest.raises(exc.ArgumentError, match="this one is dict"):
        execute_many(engine, query, [(1, ""), {"id": 2, "name": ""}])
    with pytest.raises(exc.InvalidRequestError, match="RETURNING"):
        execute_many(engine, f"{query} RETURNING id", [(1, ""), (2, "")])
    assert count(engine, table) == 0


def test_arguments_are_refused_before_anything_is_borrowed(engine):
    for query, rows, more in [
        (b"SELECT 1", [(1,)], {}),
        ("SELECT 1", "rows", {}),
        ("SELECT 1", {"a": 1}, {}),
        ("SELECT 1", ["rows"], {}),
        ("SELECT 1", 7, {}),
        (select(1), [(1,)], {}),
        ("SELECT %s", [(1,)], {"batch": 0}),
    ]:
        with pytest.raises(exc.ArgumentError):
            execute_many(engine, query, rows, **more)
    with pytest.raises(exc.StatementError, match="placeholders in the text: 2, values given: 1"):
        execute_many(engine, "SELECT %s, %s", [(1,)])
    assert engine.pool.stats().borrows == 0


def test_a_statement_in_a_file(engine, tmp_path):
    path = tmp_path / "films.sql"
    path.write_text("\ufeff-- films: all of them\nSELECT :n + 1, 'ö%'\n", encoding="utf-8")
    assert query_file(engine, path, {"n": 1}) == [(2, "ö%")]
    path.write_text("SELEC 1")
    with pytest.raises(exc.ProgrammingError) as caught:
        query_file(engine, str(path))
    assert any("films.sql" in note for note in caught.value.__notes__)
    path.write_bytes(b"SELECT '\xff'")
    with pytest.raises(exc.ArgumentError, match=r"films.sql is not in UTF-8"):
        query_file(engine, path)
    path.write_text(" \n")
    with pytest.raises(exc.ArgumentError, match=r"films.sql is empty"):
        query_file(engine, path)
    with pytest.raises(FileNotFoundError):
        query_file(engine, tmp_path / "none.sql")


TAGS = {"route": "/films/:id", "controller": "100%", "traceparent": None}
COMMENT = "/*controller='100%25',route='%2Ffilms%2F%3Aid'*/"


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT current_query()", None),
        ("SELECT current_query(), '5%', CAST(:a AS text)", {"a": "x"}),
        ("SELECT current_query(), '5%%', CAST(%s AS text)", ("x",)),
        ("SELECT current_query()", {}),
        (select(func.current_query()), None),
    ],
    ids=["plain", "named", "positional", "empty", "executable"],
)
def test_tags_reach_the_server_as_a_comment(engine, query, params):
    assert execute_query(engine, query, params, tags=TAGS).scalar().endswith(COMMENT)
    assert "/*" not in execute_query(engine, query, params).scalar()
    sent = []
    event.listen(engine, "after_cursor_execute", lambda *args: sent.append(args[2]))
    list(stream_query(engine, query, params, tags=TAGS))
    assert sent[0].replace("%%", "%").endswith(COMMENT)


def test_tags_of_many_executions(engine, table):
    query = f"INSERT INTO {table} VALUES (:id, current_query()) RETURNING name"
    for name in execute_query(engine, query, [{"id": 1}, {"id": 2}], tags=TAGS).scalars():
        assert name.endswith(COMMENT)
    sent = []
    event.listen(engine, "after_cursor_execute", lambda *args: sent.append(args[2]))
    assert execute_many(engine, f"UPDATE {table} SET name = %s", [("a",), ("b",)], tags=TAGS) == 4
    assert all(sql.endswith(COMMENT.replace("%", "%%")) for sql in sent)


def test_tags_do_not_stay_with_the_connection(engine):
    execute_query(engine, "SELECT 1", tags=TAGS)
    list(stream_query(engine, "SELECT 1", tags=TAGS))
    with engine.connect() as connection:
        assert "/*" not in connection.exec_driver_sql("SELECT current_query()").scalar()


class Template:
    def __init__(self, *parts):
        self.strings = parts[::2]
        self.interpolations = tuple(
            types.SimpleNamespace(value=value, expression="x", conversion=None, format_spec="") for value in parts[1::2]
        )


def test_template_strings_are_bound(engine, monkeypatch):
    monkeypatch.setattr(templates, "Template", Template)
    evil = "'; DROP TABLE users; --%s :x"
    made = Template("SELECT CAST(", evil, " AS text), '5%', '10:30'")
    for rows in (execute_query(engine, made, tags=TAGS), list(stream_query(engine, made))):
        assert rows == [(evil, "5%", "10:30")]
    assert execute_query(engine, Template("SELECT '5%'")).scalar() == "5%"
    with pytest.raises(exc.ArgumentError, match="has its values within"):
        execute_query(engine, made, {"a": 1})


def test_the_manager_has_them_all(shared_database, driver, tmp_path):
    (tmp_path / "q.sql").write_text("SELECT :n")
    settings = DatabaseSettings.load(shared_database, env_file=None, driver=driver, min_size=0)
    with DatabaseConnectionManager(settings) as db:
        db.execute_query("CREATE TABLE IF NOT EXISTS managed (id int PRIMARY KEY, name text)")
        db.execute_query("TRUNCATE managed")
        assert db.execute_many("INSERT INTO managed VALUES (%s, %s)", [(1, "a"), (2, "b")]) == 2
        assert db.copy_rows("managed", [(3, "c")], columns=("id", "name")) == 1
        assert db.upsert_rows("managed", [{"id": 3, "name": "d"}, {"id": 4, "name": "e"}], key="id") == 2
        with db.stream_query("SELECT name FROM managed ORDER BY id", chunk=1) as rows:
            assert [row.name for row in rows] == ["a", "b", "d", "e"]
        assert db.query_file(tmp_path / "q.sql", {"n": 7}).scalar() == 7
        db.execute_query("DROP TABLE managed")
