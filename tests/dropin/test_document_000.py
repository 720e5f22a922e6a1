"""``DatabaseConnectionPool``: its document's example as it stands there, and each of its promises."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor

from dbkit.dropin import (
    AlreadyInitializedError,
    DatabaseConnectionPool,
    DatabasePool,
    NoConnectionError,
    NotInitializedError,
    NotLentError,
)
from dbkit.dropin import database_connection_pool as module
from dbkit.errors import SettingsError

from ..pool.helpers import Admin, Task, eventually, in_line
from ..shown import everything_shown
from .conftest import address_of, make_impatient, pool_of
from .documents import block, changed, document

pytestmark = pytest.mark.usefixtures("elsewhere")

CANARY = "s3cr3t-canary"


# ---- the document


def test_the_documents_example(users_database: str, environment: Callable[..., str], capsys: Any):
    environment(address_of(users_database))
    code = changed(
        block("000", "# Initialize connection pool"),
        a="from db.connection import DatabaseConnectionPool -> from dbkit.dropin import DatabaseConnectionPool",
    )
    exec(code, {})
    assert capsys.readouterr().out == "[(1, 'Ada'), (2, 'Grace')]\n"
    with pytest.raises(NotInitializedError):
        DatabaseConnectionPool.get_connection()


def test_the_documents_env_file(users_database: str, tmp_path: Path):
    address = address_of(users_database)
    example = re.search(r" +DB_HOST=.*DB_PORT=5432\n", document("000"), re.DOTALL)
    assert example is not None
    file = changed(
        textwrap.dedent(example[0]),
        a=f"localhost -> {address['host']}",
        b=f"myapp_db -> {address['dbname']}",
        c=f"myapp_user -> {address['user']}",
        d=f"myapp_secure_password -> {address['password']}",
        e=f"5432 -> {address['port']}",
    )
    (tmp_path / ".env").write_text(file)
    DatabaseConnectionPool.initialize_pool(minconn=1, maxconn=10)
    assert names_of_users() == ["Ada", "Grace"]


def names_of_users() -> list[str]:
    conn = DatabaseConnectionPool.get_connection()
    try:
        cursor = conn.cursor(cursor_factory=RealDictCursor)
        cursor.execute("SELECT * FROM users ORDER BY id")
        return [row["name"] for row in cursor.fetchall()]
    finally:
        DatabaseConnectionPool.put_connection(conn)


# ---- the same in our own words


def test_from_the_environment(users_database: str, environment: Callable[..., str], admin: Admin, caplog: Any):
    caplog.set_level(logging.INFO, "dbkit.dropin")
    name = environment(address_of(users_database))
    DatabaseConnectionPool.initialize_pool(minconn=3, maxconn=10)
    assert len(admin.pids(name)) == 3  # opened at once, as by psycopg2's own pool
    assert names_of_users() == ["Ada", "Grace"]
    DatabaseConnectionPool.close_all_connections()
    eventually(lambda: not admin.pids(name))
    assert caplog.messages == ["Connection pool created", "Connection pool closed"]


def test_from_an_env_file(users_database: str, tmp_path: Path, environment: Callable[..., str]):
    address = address_of(users_database)
    lines = [f"DB_{key.upper()}={address.pop(key)}\n" for key in ("port", "password")]
    (tmp_path / ".env").write_text("".join([*lines, "DB_HOST=no.such.host.invalid\n"]))
    environment(address)  # goes over the file
    DatabaseConnectionPool.initialize_pool(1, 2)
    assert names_of_users() == ["Ada", "Grace"]


DEFAULTS = [
    ({"user", "password", "dbname", "host"}, 'user "your_user"'),
    ({"dbname"}, 'database "your_database" does not exist'),
    ({"password"}, 'password authentication failed for user "postgres"'),
]


@pytest.mark.parametrize(("unset", "refusal"), DEFAULTS)
def test_what_the_environment_leaves_out_is_as_in_the_document(
    address: dict[str, Any],
    environment: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    unset: set[str],
    refusal: str,
):
    environment(address)
    for key in unset:
        monkeypatch.delenv(f"DB_{key.upper()}")
    with pytest.raises(psycopg2.OperationalError, match=refusal):
        DatabaseConnectionPool.initialize_pool(1, 2)


def test_the_port_and_the_host_are_as_in_the_document():
    with pytest.raises(psycopg2.OperationalError, match='"localhost"') as caught:
        DatabaseConnectionPool.initialize_pool(1, 2)  # nothing is set, so nobody answers or nobody knows your_user
    assert "port 5432" in str(caught.value)


def test_settings_that_make_no_sense_are_refused_and_named(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, port="many")
    with pytest.raises(SettingsError, match=r"(?s)DB_PORT.*max_conn"):
        DatabaseConnectionPool.initialize_pool(minconn=0, maxconn=0)
    with pytest.raises(NotInitializedError):
        DatabaseConnectionPool.get_connection()


# ---- its life


def test_a_second_initialize_raises_and_the_first_pool_stays(environment: Callable[..., str], address: dict[str, Any]):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 2)
    conn = DatabaseConnectionPool.get_connection()
    with pytest.raises(AlreadyInitializedError) as caught:
        DatabaseConnectionPool.initialize_pool(1, 2)
    assert str(caught.value) == "Connection pool is already initialized"
    assert isinstance(caught.value, RuntimeError)
    conn.cursor().execute("SELECT 1")
    DatabaseConnectionPool.put_connection(conn)


def test_before_there_is_a_pool():
    with pytest.raises(NotInitializedError) as caught:
        DatabaseConnectionPool.get_connection()
    assert str(caught.value) == "Database connection pool is not initialized"
    with pytest.raises(NotInitializedError):
        DatabaseConnectionPool.put_connection(object())  # type: ignore[arg-type]
    DatabaseConnectionPool.close_all_connections()


@pytest.mark.parametrize("there_is_a_pool", [True, False])
def test_none_is_no_connection(environment: Callable[..., str], address: dict[str, Any], there_is_a_pool: bool):
    if there_is_a_pool:
        environment(address)
        DatabaseConnectionPool.initialize_pool(1, 2)
    with pytest.raises(NotLentError) as caught:
        DatabaseConnectionPool.put_connection(None)
    assert str(caught.value) == "No connection provided"


def test_after_its_end_it_can_be_initialized_again(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    for number in range(3):
        name = environment(address)
        DatabaseConnectionPool.initialize_pool(number, 3)
        assert len(admin.pids(name)) == number
        DatabaseConnectionPool.put_connection(DatabaseConnectionPool.get_connection())
        DatabaseConnectionPool.close_all_connections()
        DatabaseConnectionPool.close_all_connections()
        eventually(lambda name=name: not admin.pids(name))


@pytest.mark.parametrize("another", [True, False])
def test_what_is_out_when_it_is_closed_may_come_back(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin, another: bool
):
    name = environment(address)
    DatabaseConnectionPool.initialize_pool(2, 2)
    conn = DatabaseConnectionPool.get_connection()
    DatabaseConnectionPool.close_all_connections()
    eventually(lambda: admin.pids(name) == {conn.get_backend_pid()})
    conn.cursor().execute("SELECT 1")  # whoever has it may finish
    if another:
        environment(address)
        DatabaseConnectionPool.initialize_pool(1, 1)
    DatabaseConnectionPool.put_connection(conn)
    eventually(lambda: not admin.pids(name))
    with pytest.raises(NotLentError, match="given back already"):
        DatabaseConnectionPool.put_connection(conn)
    if another:
        assert pool_of(module).stats().size == 1


def test_if_one_connection_cannot_be_opened_there_is_no_pool(
    environment: Callable[..., str], database: str, admin: Admin
):
    role = f"two_only_{database.rpartition('_')[2]}"
    admin.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'two' CONNECTION LIMIT 2")
    try:
        name = environment({**address_of(database), "user": role, "password": "two"}, reconnect_timeout=0)
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            DatabaseConnectionPool.initialize_pool(3, 3)
        eventually(lambda: not admin.pids(name))
        with pytest.raises(NotInitializedError):
            DatabaseConnectionPool.get_connection()
        admin.rows(
            f"ALTER ROLE {role} CONNECTION LIMIT 9"
        )  # the server counts sessions a moment longer than it shows them
        DatabaseConnectionPool.initialize_pool(2, 3)
        DatabaseConnectionPool.close_all_connections()
        eventually(lambda: not admin.pids(name))
    finally:
        admin.rows(f"DROP ROLE {role}")


def test_each_class_refuses_the_others_connections(environment: Callable[..., str], address: dict[str, Any]):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 2)
    DatabasePool.initialize(**address)
    conn = DatabasePool.get_connection()
    with pytest.raises(NotLentError, match="not DatabaseConnectionPool's but DatabasePool's"):
        DatabaseConnectionPool.put_connection(conn)
    conn.cursor().execute("SELECT 1")
    DatabasePool.return_connection(conn)


# ---- threads


def test_fifty_threads_make_one_pool(environment: Callable[..., str], address: dict[str, Any], admin: Admin):
    name = environment(address)
    start = threading.Barrier(50)

    def initialize() -> bool:
        start.wait(10)
        try:
            DatabaseConnectionPool.initialize_pool(2, 5)
        except AlreadyInitializedError:
            return False
        return True

    assert sum(task.outcome(30) for task in [Task(initialize) for _ in range(50)]) == 1
    assert len(admin.pids(name)) == 2
    DatabaseConnectionPool.close_all_connections()
    eventually(lambda: not admin.pids(name))


def test_a_full_pool_waits_for_a_connection(environment: Callable[..., str], address: dict[str, Any]):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 1)
    conn = DatabaseConnectionPool.get_connection()
    waiter = Task(DatabaseConnectionPool.get_connection)
    in_line(pool_of(module), 1)
    DatabaseConnectionPool.put_connection(conn)
    DatabaseConnectionPool.put_connection(waiter.outcome())


def test_many_threads_are_all_served(environment: Callable[..., str], address: dict[str, Any], admin: Admin):
    name = environment(address)
    DatabaseConnectionPool.initialize_pool(1, 5)

    def work() -> int:
        done = 0
        for _ in range(20):
            conn = DatabaseConnectionPool.get_connection()
            try:
                with conn.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    done += cursor.fetchone()[0]
            finally:
                DatabaseConnectionPool.put_connection(conn)
        return done

    assert [task.outcome(60) for task in [Task(work) for _ in range(32)]] == [20] * 32
    assert 1 <= len(admin.pids(name)) <= 5
    everything = [DatabaseConnectionPool.get_connection() for _ in range(5)]  # none is lost
    for conn in everything:
        DatabaseConnectionPool.put_connection(conn)


# ---- forgotten connections


def forgetful() -> Any:
    return DatabaseConnectionPool.get_connection()


def test_a_forgotten_connection_is_reported_with_the_place_that_borrowed_it(
    environment: Callable[..., str], address: dict[str, Any], caplog: Any
):
    environment(address, leak_after=0.05)
    DatabaseConnectionPool.initialize_pool(1, 2)
    conn = forgetful()
    [report] = eventually(lambda: [message for message in caplog.messages if "has been out" in message])
    assert f"borrowed at forgetful ({__file__}:" in report
    DatabaseConnectionPool.put_connection(conn)


def test_forgotten_connections_are_reported_unless_the_environment_says_no(
    environment: Callable[..., str], address: dict[str, Any]
):
    for said, expected in ((None, 60), ("7", 7), ("none", None)):
        environment(address, **({} if said is None else {"leak_after": said}))
        DatabaseConnectionPool.initialize_pool(0, 1)
        assert pool_of(module).policy.leak_after == expected
        DatabaseConnectionPool.close_all_connections()


def test_the_error_of_an_exhausted_pool_names_who_has_the_connections(
    environment: Callable[..., str], address: dict[str, Any]
):
    environment(address)
    DatabaseConnectionPool.initialize_pool(1, 1)
    make_impatient(module)
    conn = forgetful()
    with pytest.raises(NoConnectionError, match="No connections available") as caught:
        DatabaseConnectionPool.get_connection()
    assert f"borrowed at forgetful ({__file__}:" in str(caught.value)
    DatabaseConnectionPool.put_connection(conn)


# ---- secrets


def test_a_password_shows_nowhere(
    environment: Callable[..., str], address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    caplog.set_level(logging.DEBUG)
    environment({**address, "password": CANARY})
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed") as caught:
        DatabaseConnectionPool.initialize_pool(1, 2)
    assert CANARY not in everything_shown(caught.value).replace(repr(address), "")
    monkeypatch.setenv("DB_PORT", "many")
    with pytest.raises(SettingsError) as wrong:
        DatabaseConnectionPool.initialize_pool(1, 2)
    assert CANARY not in everything_shown(wrong.value)
    assert CANARY not in caplog.text
    assert CANARY not in repr(vars(module._pool))


# ---- fork


@pytest.mark.parametrize("name", ["DatabaseConnectionPool", "DatabasePool"])
def test_a_forked_child_goes_on_using_the_class(environment: Callable[..., str], address: dict[str, Any], name: str):
    environment(address)
    initialize, give_back, close, module_name = {
        "DatabaseConnectionPool": (
            "initialize_pool(1, 2)",
            "put_connection",
            "close_all_connections()",
            "database_connection_pool",
        ),
        "DatabasePool": (f"initialize(**{address!r})", "return_connection", "close()", "database_pool"),
    }[name]
    script = f"""
import os, psycopg2, threading, time
from dbkit.dropin import {name} as Pool, NotLentError
from dbkit.dropin import {module_name} as module

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed; see above"

def pid_of(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]

Pool.{initialize}
parents = Pool.get_connection()
parents_pid = pid_of(parents)
parents.cursor().execute("CREATE TEMPORARY TABLE mine (n integer)")

def use():
    try:
        parents.cursor()
    except psycopg2.InterfaceError:
        pass
    else:
        raise SystemExit("the child may use the parent's connection")
    conn = Pool.get_connection()
    assert pid_of(conn) != parents_pid
    Pool.{give_back}(conn)
    Pool.{give_back}(parents)  # as a finally block does; harmless
    try:
        Pool.{give_back}(parents)
    except NotLentError:
        pass
    else:
        raise SystemExit("twice")
    assert pid_of(Pool.get_connection()) not in (0, parents_pid)
    Pool.{close}

child(use)
parents.cursor().execute("INSERT INTO mine VALUES (1)")  # in the transaction that was open at the fork
assert pid_of(parents) == parents_pid
Pool.{give_back}(parents)
Pool.{close}

# a fork while another thread makes the pool: its lock is held, and not in the child
held, release = threading.Event(), threading.Event()
def hold():
    with module._pool._lock:
        held.set()
        release.wait(30)
threading.Thread(target=hold, daemon=True).start()
assert held.wait(10)
def anew():
    Pool.{initialize}
    Pool.{give_back}(Pool.get_connection())
    Pool.{close}
child(anew)
release.set()
anew()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
