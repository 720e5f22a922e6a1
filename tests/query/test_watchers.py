"""Whoever watches an engine sees every statement: listeners, echo, execution options, hidden parameters."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import Engine, event, exc

from dbkit.session import query
from dbkit.session.query import execute_query

from .conftest import make_engine


@pytest.fixture
def engines(shared_database, driver):
    made = []

    def make(**options):
        made.append(make_engine(shared_database, driver, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.pool.close()


def test_an_unwatched_string_takes_the_direct_road(engines, monkeypatch):
    engine = engines()
    monkeypatch.setattr(query, "_through_sqlalchemy", None)
    assert execute_query(engine, "SELECT 1").scalar() == 1


@pytest.mark.parametrize("params", [None, {"x": 1}, (1,)], ids=["none", "named", "positional"])
def test_listeners_see_strings(engines, params):
    engine = engines()
    seen = []
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    event.listen(engine, "after_cursor_execute", lambda *args: seen.append("after"))
    sql = {None: "SELECT 1", dict: "SELECT :x", tuple: "SELECT %s"}[type(params) if params else None]
    execute_query(engine, sql, params)
    assert len(seen) == 2
    assert seen[0].startswith("SELECT")


def test_listeners_on_all_engines_see_strings(engines, monkeypatch):
    monkeypatch.setattr(Engine, "_has_events", Engine._has_events)  # SQLAlchemy leaves it set when the last one goes
    engine = engines()
    seen = []

    def listen(*args):
        seen.append(args[2])

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        execute_query(engine, "SELECT 'all'")
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert seen == ["SELECT 'all'"]


def test_listeners_may_rewrite(engines):
    engine = engines()
    event.listen(engine, "before_cursor_execute", lambda c, cur, sql, p, ctx, many: (sql + " + 1", p), retval=True)
    assert execute_query(engine, "SELECT 1").scalar() == 2


def test_error_handlers_are_asked(engines):
    engine = engines()
    event.listen(engine, "handle_error", lambda context: RuntimeError("translated"))
    with pytest.raises(RuntimeError, match="translated"):
        execute_query(engine, "SELECT 1/0")


def test_echo_and_log_levels_show_statements(engines, caplog):
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        execute_query(engines(), "SELECT 'logged'")
    assert any("SELECT 'logged'" in record.getMessage() for record in caplog.records)


def test_hidden_parameters_stay_hidden(engines):
    with pytest.raises(exc.DataError) as caught:
        execute_query(engines(hide_parameters=True), "SELECT CAST(:card AS int)", {"card": "4111-canary"})
    shown = str(caught.value).partition("[SQL")[2]  # the server's own message quotes the value
    assert "canary" not in shown
    assert "hidden" in shown


def test_parameters_show_otherwise(engines):
    with pytest.raises(exc.DataError, match="'visible'"):
        execute_query(engines(), "SELECT CAST(:card AS int)", {"card": "visible"})


def test_json_functions_of_the_engine_are_used(engines):
    engine = engines(json_deserializer=lambda text: ("loaded", bytes(text, "utf-8") if isinstance(text, str) else text))
    assert execute_query(engine, "SELECT '{}'::json").scalar() == ("loaded", b"{}")


def test_other_paramstyles_work(engines):
    engine = engines(paramstyle="format")
    assert execute_query(engine, "SELECT CAST(:a AS int) + 1, 'x%'", {"a": 1}) == [(2, "x%")]
    with pytest.raises(exc.DataError) as caught:
        execute_query(engine, "SELECT CAST(:a AS int)", {"a": "x"})
    assert (caught.value.statement, caught.value.params) == ("SELECT CAST(%s AS int)", ("x",))
