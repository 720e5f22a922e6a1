"""The manager as its users meet it: making it, its parts, its end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
import uuid

import pytest
from sqlalchemy import exc, make_url
from sqlalchemy.orm import Session

import dbkit
from dbkit import (
    DatabaseConnectionManager,
    DatabaseSettings,
    ElasticPool,
    PoolClosedError,
    PoolTimeoutError,
    QueryResult,
    SettingsError,
)
from dbkit.core.policy import NAMES


def details(url: str) -> dict[str, object]:
    parsed = make_url(url)
    return {
        "host": parsed.host,
        "port": parsed.port,
        "username": parsed.username,
        "password": parsed.password,
        "database": parsed.database,
    }


@pytest.mark.parametrize("method", [DatabaseConnectionManager.__init__, DatabaseConnectionManager.from_ini])
def test_every_number_of_the_pool_is_a_keyword(method):
    assert method.__annotations__["numbers"] == "Unpack[PoolNumbers]"
    assert all(f"``{name}``" in (DatabaseConnectionManager.__doc__ or "") for name in NAMES)


@pytest.mark.parametrize("wrong, hint", [
    ("max_sise", "did you mean 'max_size'?"), ("pool_size", "did you mean 'max_size'?"),
    ("credentials", "did you mean 'credential'?"), ("password", "give password in connection_details"),
    ("zzz", "unexpected keyword argument 'zzz'"),
])  # fmt: skip
def test_an_unknown_keyword_names_the_closest_known_one(tmp_path, wrong, hint):
    canary = "s3cr3t-canary"
    with pytest.raises(TypeError) as caught:
        DatabaseConnectionManager(f"postgresql://user:{canary}@localhost/db", **{wrong: canary})
    assert hint in str(caught.value) and f"'{wrong}'" in str(caught.value)
    frames = list(traceback.walk_tb(caught.value.__traceback__))[1:]  # the first is this test
    assert frames and canary not in repr([frame.f_locals for frame, _ in frames])
    with pytest.raises(TypeError, match=r"from_ini\(\) got an unexpected"):
        DatabaseConnectionManager.from_ini(tmp_path / "app.ini", **{wrong: canary})


def test_numbers_reach_the_pool(shared_database):
    with DatabaseConnectionManager(
        shared_database, min_size=1, max_size=4, timeout=5, max_idle=60, max_lifetime=None
    ) as db:
        policy = db.pool.policy
        assert isinstance(db.pool, ElasticPool)
        assert policy == db.settings.policy
        assert (policy.min_size, policy.max_size, policy.timeout, policy.max_idle) == (1, 4, 5, 60)
        assert policy.max_lifetime is None
        assert policy.fair_after == type(policy).fair_after


def test_the_ways_to_say_where(shared_database, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = details(shared_database)
    settings = DatabaseSettings.load(shared_database, min_size=0)
    ini = tmp_path / "app.ini"
    ini.write_text("[postgresql]\n" + "\n".join(f"{key} = {value}" for key, value in given.items()))
    for made in (
        lambda: DatabaseConnectionManager(given, min_size=0),
        lambda: DatabaseConnectionManager(connection_details=given, min_size=0),
        lambda: DatabaseConnectionManager(shared_database, min_size=0),
        lambda: DatabaseConnectionManager(make_url(shared_database), min_size=0),
        lambda: DatabaseConnectionManager(settings),
        lambda: DatabaseConnectionManager(settings, max_size=1),
        lambda: DatabaseConnectionManager.from_ini(ini, min_size=0),
    ):
        with made() as db:
            assert db.execute_query("SELECT current_database()").scalar() == given["database"]
            assert db.settings.policy.min_size == 0
    monkeypatch.setenv("DATABASE_URL", shared_database)
    with DatabaseConnectionManager(min_size=0) as db:
        assert db.execute_query("SELECT current_database()").scalar() == given["database"]


def test_bad_settings_are_named_all_at_once(shared_database):
    with pytest.raises(SettingsError) as caught:
        DatabaseConnectionManager({"host": "localhost", "port": "abc"}, max_size=0)
    assert {fault.key for fault in caught.value.faults} == {"port", "max_size"}
    with pytest.raises(SettingsError, match="above max_size"):
        DatabaseConnectionManager(shared_database, min_size=9, max_size=3)


def test_making_one_opens_nothing(shared_database):
    with DatabaseConnectionManager(shared_database, min_size=2) as db:
        assert db.stats().size == 0
        assert db.stats().opens == 0


def test_warm_opens_the_minimum(shared_database):
    with DatabaseConnectionManager(shared_database, min_size=3, warm=True) as db:
        stats = db.stats()
        assert (stats.idle, stats.opens) == (3, 3)


def test_warm_fails_at_once(shared_database):
    wrong = {**details(shared_database), "password": "wrong-canary"}
    with pytest.raises(exc.OperationalError, match="password authentication failed") as caught:
        DatabaseConnectionManager(wrong, min_size=2, warm=True)
    assert caught.value.__cause__ is caught.value.orig


def test_a_warm_up_that_fails_halfway_leaves_nothing_open(db, shared_database):
    role = f"limited_{uuid.uuid4().hex[:12]}"
    db.execute_query(f"CREATE ROLE {role} LOGIN PASSWORD 'pw' CONNECTION LIMIT 1")
    try:
        limited = {**details(shared_database), "username": role, "password": "pw"}
        with pytest.raises(exc.OperationalError, match="too many connections for role"):
            DatabaseConnectionManager(limited, min_size=3, reconnect_timeout=0, warm=True)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = :role"
        deadline = time.monotonic() + 10
        while db.execute_query(sessions, {"role": role}).scalar():
            assert time.monotonic() < deadline
    finally:
        db.execute_query(f"DROP ROLE {role}")


def test_engine_options(shared_database):
    options = {"isolation_level": "REPEATABLE READ", "hide_parameters": True, "connect_args": {"cursor_factory": None}}
    with DatabaseConnectionManager(shared_database, min_size=0, engine_options=options) as db:
        assert db.engine.hide_parameters
        with db.session_scope() as session:
            assert session.connection().get_isolation_level() == "REPEATABLE READ"


@pytest.mark.parametrize("name", ["poolclass", "creator", "pool_size", "pool_timeout", "max_overflow", "max_size"])
def test_engine_options_that_are_not_the_callers(shared_database, name):
    with pytest.raises(exc.ArgumentError, match=name):
        DatabaseConnectionManager(shared_database, engine_options={name: 1})


@pytest.mark.parametrize("name", ["password", "user", "host", "hostaddr", "service", "sslmode", "connect_timeout"])
def test_connect_args_that_are_settings(shared_database, name):
    with pytest.raises(exc.ArgumentError, match=f"connect_args cannot hold {name}"):
        DatabaseConnectionManager(shared_database, engine_options={"connect_args": {name: "canary"}})


def test_the_parts(db):
    assert db.sessions.kw["bind"] is db.engine
    assert db.pool is db.engine.pool
    assert isinstance(db.execute_query("SELECT 1"), QueryResult)
    with db.session_scope() as session:
        assert isinstance(session, Session)
    assert db.stats().borrows == db.pool.stats().borrows == 1


def test_repr(db, shared_database):
    shown = repr(db)
    assert details(shared_database)["password"] not in shown
    assert details(shared_database)["database"] in shown
    assert "0-3" in shown


def test_use_after_the_end(shared_database):
    db = DatabaseConnectionManager(shared_database, min_size=1)
    assert db.execute_query("SELECT 1").scalar() == 1
    assert db.close_connections() == ()
    assert db.close_connections() == ()

    def use_a_session():
        with db.session_scope() as session:
            session.connection()

    for use in (
        lambda: db.execute_query("SELECT 1"),
        use_a_session,
        lambda: db.raw_connection().__enter__(),
        lambda: db.engine.connect(),
        lambda: db.warm_up(),
    ):
        with pytest.raises(PoolClosedError, match="closed"):
            use()
    assert db.stats().size == 0


def test_closing_tells_who_still_holds_a_connection(shared_database):
    db = DatabaseConnectionManager(shared_database, min_size=0)
    with db.session_scope() as session:
        session.connection()
        (holder,) = db.close_connections(timeout=0)
        assert holder.thread_id == threading.get_ident()
    assert db.close_connections() == ()


def test_the_end_of_the_block_closes(shared_database):
    with pytest.raises(KeyError), DatabaseConnectionManager(shared_database, min_size=2) as db:
        db.execute_query("SELECT 1")
        raise KeyError
    with pytest.raises(PoolClosedError):
        db.execute_query("SELECT 1")


def test_a_timeout_is_sqlalchemys_too(shared_database):
    with DatabaseConnectionManager(shared_database, min_size=1, max_size=1, timeout=0.05) as db:
        db.warm_up(timeout=30)  # the timeout covers connecting too
        with db.raw_connection(), pytest.raises(PoolTimeoutError) as caught:
            db.execute_query("SELECT 1")
        assert isinstance(caught.value, exc.TimeoutError)
        assert db.execute_query("SELECT 1").scalar() == 1


def test_eight_threads_are_as_one(db, table):
    errors = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            start.wait(10)
            for step in range(25):
                key = number * 1000 + step
                with db.session_scope() as session:
                    session.connection().exec_driver_sql(f"INSERT INTO {table} VALUES (%s, 'session')", (key,))
                db.execute_query(f"UPDATE {table} SET name = :n WHERE id = :i", {"n": f"{number}/{step}", "i": key})
                with db.raw_connection() as connection, connection.cursor() as cursor:
                    cursor.execute(f"SELECT name FROM {table} WHERE id = %s", (key,))
                    assert cursor.fetchone() == (f"{number}/{step}",)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert db.execute_query(f"SELECT count(*), count(DISTINCT name) FROM {table}").one() == (200, 200)
    stats = db.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.size <= 3


FORK = """
import faulthandler, os, sys
from dbkit import DatabaseConnectionManager

db = DatabaseConnectionManager(sys.argv[1], min_size=0, max_size=3, timeout=20)
pid = "SELECT pg_backend_pid()"
parent = db.execute_query(pid).scalar()
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(15, exit=True)  # where it hangs, if it does
    os._exit(7 if db.execute_query(pid).scalar() != parent else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert db.execute_query(pid).scalar() == parent
"""


def test_a_forked_child_goes_on_using_it(shared_database):
    # In a process of its own: whatever other tests have under way would be forked with it.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, shared_database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("__all__", {"sqlalchemy", "psycopg2"}),
        ("ElasticPool", {"psycopg2", "sqlalchemy.orm", "dbkit.settings", "dbkit.session"}),
        ("DatabaseConnectionManager", {"alembic", "dotenv", "sqlalchemy.orm", "pytest"}),
    ],
)
def test_import_is_light(name, heavy):
    code = f"import sys, dbkit; dbkit.{name}; print(set({sorted(heavy)}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "set()"


def test_what_is_public():
    assert len(set(dbkit.__all__)) == len(dbkit.__all__)
    assert set(dbkit._HOME) == set(dbkit.__all__) <= set(dir(dbkit))
    for name in dbkit.__all__:
        assert getattr(dbkit, name).__doc__ or name.isupper()
    assert dbkit.__version__.count(".") >= 1
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        dbkit.nope
