"""``DatabasePool``: its document's code as it stands there, and each of its promises."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
import textwrap
import threading
import types
import warnings
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor
from psycopg2.pool import PoolError

from dbkit.dropin import (
    AlreadyInitializedError,
    DatabasePool,
    NoConnectionError,
    NotInitializedError,
    NotLentError,
)
from dbkit.dropin import database_pool as module
from dbkit.errors import SettingsError

from ..pool.helpers import Admin, Task, eventually, in_line
from ..shown import everything_shown
from .conftest import address_of, execute, make_impatient, pool_of
from .documents import block, changed

pytestmark = pytest.mark.usefixtures("elsewhere")

CANARY = "s3cr3t-canary"


class Repository:
    """A repository as the document describes them: no pool of its own."""

    table = "users"

    def __init__(self) -> None:
        if not DatabasePool.is_initialized():
            raise RuntimeError("DatabasePool not initialized")
        self.rows = self.load()

    def load(self) -> list[dict[str, Any]]:
        conn = None
        try:
            conn = DatabasePool.get_connection()
            with conn.cursor(cursor_factory=RealDictCursor) as cur:
                cur.execute(f"SELECT * FROM {self.table} ORDER BY id")
                return [dict(row) for row in cur.fetchall()]
        finally:
            if conn:
                DatabasePool.return_connection(conn)


class MoviesRepository(Repository):
    table = "movies"


class OrdersRepository(Repository):
    table = "orders"


class MoviesService:
    def __init__(self, repository: MoviesRepository) -> None:
        self.repository = repository


@pytest.fixture
def app_database(users_database: str) -> str:
    """Return the URL of a database with users, movies and orders."""
    execute(
        users_database,
        "CREATE TABLE movies AS SELECT 1 AS id, 'Metropolis' AS title; CREATE TABLE orders AS SELECT 1 AS id",
    )
    return users_database


@pytest.fixture
def app_address(app_database: str) -> dict[str, Any]:
    return address_of(app_database)


def settings_for(address: dict[str, Any]) -> types.SimpleNamespace:
    """Return an application's settings, in the document's names."""
    return types.SimpleNamespace(
        db_host=address["host"],
        db_port=address["port"],
        db_name=address["dbname"],
        db_user=address["user"],
        db_password=address["password"],
    )


def at(address: dict[str, Any], code: str) -> str:
    """Return the document's code with this server's address instead of the one it names."""
    return changed(
        code,
        a=f'host="localhost" -> host={address["host"]!r}',
        b=f"port=5432 -> port={address['port']}",
        c=f'dbname="postgres" -> dbname={address["dbname"]!r}',
        d=f'user="postgres" -> user={address["user"]!r}',
        e=f'password="mysecretpassword" -> password={address["password"]!r}',
    )


IMPORT = "from app.core.database import DatabasePool -> from dbkit.dropin import DatabasePool"


# ---- the document


def test_the_documents_pool(app_address: dict[str, Any]):
    code = at(app_address, block("003", "# Use pool in any repository"))
    code = changed(code, a="    # use connection... ->     used.append(conn.closed)")  # it has no statement there
    used: list[int] = []
    exec(code, {"DatabasePool": DatabasePool, "used": used})
    assert used == [0]
    assert not DatabasePool.is_initialized()


def test_the_documents_simpler_repository(app_address: dict[str, Any]):
    before, after, rest = block("003", "# Before: Repository created its own pool").partition("# After")
    assert "MoviesRepository(" in before
    DatabasePool.initialize(**app_address)
    names: dict[str, Any] = {"MoviesRepository": MoviesRepository}
    exec(after + rest, names)
    assert names["repository"].rows == [{"id": 1, "title": "Metropolis"}]


def test_the_documents_lifespan(app_address: dict[str, Any], caplog: Any):
    from fastapi import FastAPI

    names: dict[str, Any] = {
        "asynccontextmanager": asynccontextmanager,
        "FastAPI": FastAPI,
        "DatabasePool": DatabasePool,
        "settings": settings_for(app_address),
        "MoviesRepository": MoviesRepository,
        "MoviesService": MoviesService,
    }
    exec(block("003", "async def lifespan"), names)
    serve(names["lifespan"], caplog)


def serve(lifespan: Any, caplog: Any) -> None:
    """Run an application with this lifespan; 24 requests at once read through the pool."""
    from fastapi import FastAPI

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another HTTP library
        from fastapi.testclient import TestClient

    caplog.set_level(logging.INFO, "dbkit.dropin")
    app = FastAPI(lifespan=lifespan)

    @app.get("/movies")
    def movies() -> list[dict[str, Any]]:
        return MoviesRepository().rows

    with TestClient(app) as client:
        assert DatabasePool.is_initialized()
        answers = [task.outcome(30) for task in [Task(client.get, "/movies") for _ in range(24)]]
        assert [answer.json() for answer in answers] == [[{"id": 1, "title": "Metropolis"}]] * 24
    assert not DatabasePool.is_initialized()
    assert "Initialized database connection pool (2-10 connections)" in caplog.messages
    assert caplog.messages[-1] == "Database connection pool closed"


def test_the_documents_user_repository(app_address: dict[str, Any]):
    code = changed(block("003", "class UserRepository"), a=IMPORT)
    names: dict[str, Any] = {}
    exec(code, names)
    with pytest.raises(RuntimeError, match="DatabasePool not initialized"):
        names["UserRepository"]()
    DatabasePool.initialize(**app_address)
    assert names["UserRepository"]().users == []


def test_the_documents_default_behaviour(app_address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any):
    caplog.set_level(logging.INFO, "dbkit.dropin")
    code = block("003", "# Uses all defaults")
    with contextlib.suppress(psycopg2.OperationalError):  # whether or not there is such a server
        exec(code, {"DatabasePool": DatabasePool})
    DatabasePool.close()
    assert caplog.messages[0] == "Connecting to PostgreSQL at localhost:5432/postgres"
    monkeypatch.setattr(DatabasePool.initialize, "__defaults__", (*app_address.values(), 2, 10))
    exec(code, {"DatabasePool": DatabasePool})
    assert MoviesRepository().rows


def test_the_documents_custom_configuration(app_address: dict[str, Any]):
    code = changed(
        block("003", 'host="db.example.com"'),
        a=f'"db.example.com" -> {app_address["host"]!r}',
        b=f"5432 -> {app_address['port']}",
        c=f'"myapp" -> {app_address["dbname"]!r}',
        d=f'"appuser" -> {app_address["user"]!r}',
        e=f'"secure_password" -> {app_address["password"]!r}',
    )
    exec(code, {"DatabasePool": DatabasePool})
    stats = pool_of(module).stats()
    assert (stats.min_size, stats.max_size, stats.size) == (5, 20, 5)


def test_the_documents_environment_based_configuration(app_address: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    config = types.ModuleType("app.core.config")
    config.get_settings = lambda: settings_for(app_address)  # type: ignore[attr-defined]
    for name in ("app", "app.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "app.core.config", config)
    exec(block("003", "from app.core.config import get_settings"), {"DatabasePool": DatabasePool})
    assert MoviesRepository().rows


def test_the_documents_monitoring(app_address: dict[str, Any], capsys: Any):
    code = block("003", 'print("Pool is ready")')
    exec(code, {"DatabasePool": DatabasePool})
    assert capsys.readouterr().out == ""
    DatabasePool.initialize(**app_address)
    exec(code, {"DatabasePool": DatabasePool})
    assert capsys.readouterr().out == "Pool is ready\n"


def test_the_documents_migration_guide(app_address: dict[str, Any]):
    code = f"class Mine:\n{textwrap.indent(last_block_with('def __init__(self):', 'import'), '    ')}"
    names: dict[str, Any] = {"DatabasePool": DatabasePool}
    exec(code, names)
    with pytest.raises(RuntimeError, match="DatabasePool not initialized"):
        names["Mine"]()
    _, after = block("003", "conn = self.pool.getconn()").split("# After\n")
    DatabasePool.initialize(**app_address)
    names["Mine"]()
    exec(after, names)
    DatabasePool.return_connection(names["conn"])


def last_block_with(having: str, without: str) -> str:
    """Return the block that begins with these words; others have them further down."""
    from .documents import document

    found = [part for part in document("003").split("```python\n") if part.lstrip().startswith(having)]
    [code] = [textwrap.dedent(part.partition("```")[0]) for part in found]
    assert without not in code
    return code


def test_the_documents_several_repositories(app_address: dict[str, Any], admin: Admin):
    names: dict[str, Any] = {
        "DatabasePool": DatabasePool,
        "MoviesRepository": MoviesRepository,
        "OrdersRepository": OrdersRepository,
        "UserRepository": Repository,
        "address": app_address,
    }
    code = changed(block("003", "orders_repo = OrdersRepository()"), a="initialize(...) -> initialize(**address)")
    exec(code, names)
    assert names["movies_repo"].rows[0]["title"] == "Metropolis"
    assert [row["name"] for row in names["users_repo"].rows] == ["Ada", "Grace"]
    assert names["orders_repo"].rows == [{"id": 1}]
    assert pool_of(module).stats().size == 2  # one pool


# ---- the same in our own words


def test_the_arguments_and_their_defaults():
    parameters = inspect.signature(DatabasePool.initialize).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "host": "localhost",
        "port": 5432,
        "dbname": "postgres",
        "user": "postgres",
        "password": "mysecretpassword",
        "min_connections": 2,
        "max_connections": 10,
    }


def test_an_application_with_repositories(app_address: dict[str, Any], caplog: Any):
    @asynccontextmanager
    async def lifespan(app: object) -> Any:
        DatabasePool.initialize(**app_address)
        assert MoviesService(MoviesRepository()).repository.rows
        try:
            yield
        finally:
            DatabasePool.close()

    serve(lifespan, caplog)


def test_its_log(address: dict[str, Any], caplog: Any):
    caplog.set_level(logging.DEBUG)
    where = f"{address['host']}:{address['port']}/{address['dbname']}"
    DatabasePool.initialize(**address, min_connections=1, max_connections=3)
    DatabasePool.close()
    DatabasePool.close()
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "dbkit.dropin"]
    assert told == [
        ("INFO", f"Connecting to PostgreSQL at {where}"),
        ("INFO", "Created connection pool with 1-3 connections"),
        ("INFO", "Initialized database connection pool (1-3 connections)"),
        ("INFO", "Closed database connection pool"),
        ("INFO", "Database connection pool closed"),
    ]
    assert address["password"] not in caplog.text


def test_numbers_may_come_as_text(address: dict[str, Any], caplog: Any):
    caplog.set_level(logging.INFO, "dbkit.dropin")
    port = str(address.pop("port"))
    DatabasePool.initialize(**address, port=port, min_connections="1", max_connections="3")  # type: ignore[arg-type]
    assert (pool_of(module).policy.min_size, pool_of(module).policy.max_size) == (1, 3)
    assert caplog.messages[-1] == "Initialized database connection pool (1-3 connections)"


def test_before_there_is_a_pool():
    assert not DatabasePool.is_initialized()
    for use in (DatabasePool.get_connection, lambda: DatabasePool.return_connection(object())):  # type: ignore[arg-type]
        with pytest.raises(NotInitializedError) as caught:
            use()
        assert str(caught.value) == "DatabasePool not initialized"
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, PoolError)


def test_a_second_initialize_raises_whatever_its_arguments(address: dict[str, Any]):
    DatabasePool.initialize(**address)
    for arguments in (address, {"port": "many"}):
        with pytest.raises(AlreadyInitializedError, match="DatabasePool already initialized"):
            DatabasePool.initialize(**arguments)
    DatabasePool.return_connection(DatabasePool.get_connection())
    DatabasePool.close()
    DatabasePool.initialize(**address)
    assert DatabasePool.is_initialized()


def test_the_minimum_is_open_at_once_and_the_maximum_holds(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=2, max_connections=3)
    assert pool_of(module).stats().size == 2
    conns = [DatabasePool.get_connection() for _ in range(3)]
    make_impatient(module)
    with pytest.raises(NoConnectionError, match="No connections available"):
        DatabasePool.get_connection()
    for conn in conns:
        DatabasePool.return_connection(conn)


def test_arguments_go_over_the_environment_which_gives_the_rest(
    address: dict[str, Any], environment: Callable[..., str], admin: Admin
):
    name = environment(dict.fromkeys(address, "1"), max_conn=1, hostaddr="192.0.2.1", timeout=7)
    DatabasePool.initialize(**address)
    assert len(admin.pids(name)) == 2
    assert (pool_of(module).policy.max_size, pool_of(module).policy.timeout) == (10, 7)


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_none_is_left_to_the_environment(address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, way: str):
    password = address.pop("password")
    monkeypatch.setenv("DB_PASSWORD", password if way == "environment" else CANARY)
    DatabasePool.initialize(**address, password=None if way == "environment" else password)
    assert DatabasePool.is_initialized()


def test_if_it_cannot_connect_there_is_no_pool(address: dict[str, Any]):
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        DatabasePool.initialize(**address | {"dbname": "no_such_database"})
    assert not DatabasePool.is_initialized()
    with pytest.raises(SettingsError, match=r"max_size=0 \(argument, max_conn"):
        DatabasePool.initialize(**address, min_connections=0, max_connections=0)
    assert not DatabasePool.is_initialized()
    DatabasePool.initialize(**address)
    assert DatabasePool.is_initialized()


def test_what_is_no_connection_of_its_own_is_refused(address: dict[str, Any]):
    DatabasePool.initialize(**address)
    stranger = psycopg2.connect(**address)
    conn = DatabasePool.get_connection()
    for wrong in (None, stranger, conn.cursor().connection):
        with pytest.raises(NotLentError, match="DatabasePool never lent this"):
            DatabasePool.return_connection(wrong)  # type: ignore[arg-type]
    assert not stranger.closed
    stranger.close()
    DatabasePool.return_connection(conn)
    with pytest.raises(NotLentError, match="given back already"):
        DatabasePool.return_connection(conn)
    assert pool_of(module).stats().in_use == 0


def test_fifty_threads_make_one_pool(address: dict[str, Any], environment: Callable[..., str], admin: Admin):
    name = environment({})
    start = threading.Barrier(50)

    def initialize() -> bool:
        start.wait(10)
        with contextlib.suppress(AlreadyInitializedError):
            DatabasePool.initialize(**address)
            return True
        return False

    assert sum(task.outcome(30) for task in [Task(initialize) for _ in range(50)]) == 1
    assert len(admin.pids(name)) == 2


def test_many_threads_are_all_served_and_none_is_lost(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=1, max_connections=5)

    def work() -> None:
        for _ in range(20):
            conn = DatabasePool.get_connection()
            try:
                with conn, conn.cursor() as cursor:
                    cursor.execute("SELECT 1")
            finally:
                DatabasePool.return_connection(conn)

    for task in [Task(work) for _ in range(32)]:
        task.outcome(60)
    stats = pool_of(module).stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.idle == stats.size <= 5


def test_requests_on_an_event_loops_threads_wait_for_each_other(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=1, max_connections=2)

    def request() -> int:
        conn = DatabasePool.get_connection()
        try:
            with conn.cursor() as cursor:
                cursor.execute("SELECT 1")
                found: int = cursor.fetchone()[0]
                return found
        finally:
            DatabasePool.return_connection(conn)

    async def requests() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(request) for _ in range(20)))

    assert asyncio.run(requests()) == [1] * 20


def test_closing_lets_whoever_waits_go(address: dict[str, Any]):
    DatabasePool.initialize(**address, min_connections=0, max_connections=1)
    conn = DatabasePool.get_connection()
    waiter = Task(DatabasePool.get_connection)
    in_line(pool_of(module), 1)
    DatabasePool.close()
    with pytest.raises(RuntimeError, match="Connection pool is closed"):
        waiter.outcome()
    DatabasePool.return_connection(conn)


def leaking() -> Any:
    return DatabasePool.get_connection()


def test_a_leak_is_reported_with_the_place(address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setenv("DB_LEAK_AFTER", "0.05")
    DatabasePool.initialize(**address)
    conn = leaking()
    [report] = eventually(lambda: [message for message in caplog.messages if "has been out" in message])
    assert f"borrowed at leaking ({__file__}:" in report
    DatabasePool.return_connection(conn)


# ---- secrets


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"port": "many"},
        {"dbname": "no_such_database"},
        {"host": "no.such.host.invalid"},
        {"min_connections": 3, "max_connections": 2},
        {"host": "/no/such/folder"},
        {"password": 17},
    ],
    ids=str,
)
def test_the_password_shows_nowhere(address: dict[str, Any], wrong: dict[str, Any], caplog: Any):
    caplog.set_level(logging.DEBUG)
    arguments = {**address, "password": CANARY, **wrong}
    given = lambda: DatabasePool.initialize(**arguments)  # noqa: E731 - the one frame that may show it is cut off below
    with pytest.raises((psycopg2.OperationalError, SettingsError)) as caught:
        given()
    error = caught.value
    assert error.__traceback__ is not None
    below = error.__traceback__.tb_next  # the test's own frames, which hold the arguments
    assert below is not None
    shown = everything_shown(error.with_traceback(below.tb_next))
    assert "in initialize" in shown
    assert CANARY not in shown
    assert CANARY not in caplog.text
    assert CANARY not in repr(vars(module._pool))


def test_the_password_shows_nowhere_while_it_works(address: dict[str, Any], caplog: Any):
    caplog.set_level(logging.DEBUG)
    DatabasePool.initialize(**address)
    conn = DatabasePool.get_connection()
    shown = [repr(conn), str(conn), repr(vars(module._pool)), repr(module._pool._open), conn.dsn, caplog.text]
    assert address["password"] not in "\n".join(shown)
    DatabasePool.return_connection(conn)
