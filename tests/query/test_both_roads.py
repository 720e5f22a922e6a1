"""What both roads of a statement do alike where something is asked of them, or goes wrong, before it is sent."""

from __future__ import annotations

import socket
import uuid

import pytest
from sqlalchemy import event, exc, make_url

from dbkit.session.query import execute_query

from .conftest import make_engine


def test_a_template_string_is_bound_and_takes_no_parameters(engine, template):
    assert execute_query(engine, template("SELECT '5%' || CAST(", "x'y", " AS text)")).scalar() == "5%x'y"
    assert execute_query(engine, template("SELECT '100%'")).scalar() == "100%"
    with pytest.raises(exc.ArgumentError, match="leave params out"):
        execute_query(engine, template("SELECT ", 1, ""), (1,))


@pytest.mark.parametrize("params", [None, {"x": 7}, (7,)], ids=["none", "named", "positional"])
def test_within_limits_it_is_executed_and_kept_to_them(engine, table, params):
    sql = {None: "SELECT 7", dict: "SELECT CAST(:x AS int)", tuple: "SELECT %s"}[type(params) if params else None]
    assert execute_query(engine, sql, params, timeout=60, read_only=True).scalar() == 7
    shown = execute_query(engine, "SELECT current_setting('statement_timeout')", timeout=60, read_only=True)
    assert shown.scalar() == "1min"
    with pytest.raises(exc.DBAPIError, match="read-only"):
        execute_query(engine, f"INSERT INTO {table} VALUES (1, 'a')", read_only=True)
    assert execute_query(engine, f"SELECT count(*) FROM {table}").scalar() == 0


def test_a_connection_that_makes_no_cursor_is_the_drivers_own_error(engine):
    event.listen(engine.pool, "checkout", lambda raw, record, borrowed: raw.close(), once=True)
    with pytest.raises((exc.InterfaceError, exc.OperationalError), match="closed") as caught:
        execute_query(engine, "SELECT 1")
    assert caught.value.__cause__ is caught.value.orig
    assert caught.value.connection_invalidated
    assert engine.pool.stats().in_use == 0
    assert execute_query(engine, "SELECT 1").scalar() == 1


@pytest.mark.parametrize("watched", [False, True])
def test_a_server_that_is_not_there_is_sqlalchemys_error_of_the_drivers(shared_database, driver, watched):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = make_url(shared_database).set(host="127.0.0.1", port=port, query={})
    engine = make_engine(url.render_as_string(hide_password=False), driver)
    if watched:
        event.listen(engine, "before_cursor_execute", lambda *args: None)
    with pytest.raises(exc.OperationalError, match="refused") as caught:
        execute_query(engine, "SELECT 1")
    assert isinstance(caught.value.orig, engine.dialect.loaded_dbapi.OperationalError)
    assert engine.pool.close() == ()


@pytest.mark.parametrize("watched", [False, True])
def test_a_commit_that_is_refused_is_sqlalchemys_error_of_the_drivers(shared_database, driver, watched):
    engine = make_engine(shared_database, driver, isolation_level="REPEATABLE READ")
    if watched:
        event.listen(engine, "before_cursor_execute", lambda *args: None)
    name = f"t_{uuid.uuid4().hex}"
    execute_query(engine, f"CREATE TABLE {name} (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(exc.IntegrityError, match="duplicate key"):
        execute_query(engine, f"INSERT INTO {name} VALUES (1), (1)")
    assert execute_query(engine, f"SELECT count(*) FROM {name}").scalar() == 0
    execute_query(engine, f"DROP TABLE {name}")
    assert engine.pool.close() == ()
