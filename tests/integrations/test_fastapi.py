"""An application with real requests: sessions end before the answer, the pool ends with the application."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InternalError
from sqlalchemy.orm import Session

pytest.importorskip("fastapi")

from fastapi import Depends, FastAPI, HTTPException

from dbkit import DatabaseConnectionManager, DbkitError
from dbkit.integrations.fastapi import (
    SessionDep,
    database,
    health_router,
    lifespan,
    session_dependency,
)
from dbkit.migrate.__main__ import main as init

from ..migrate.conftest import write_revision
from ..pool.helpers import Task, eventually

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have another HTTP library
    from fastapi.testclient import TestClient

ReadOnly = Annotated[Session, session_dependency(read_only=True)]
Manager = Annotated[DatabaseConnectionManager, Depends(database)]


@pytest.fixture
def make(database: str) -> Callable[..., DatabaseConnectionManager]:
    def manager(**numbers: Any) -> DatabaseConnectionManager:
        return DatabaseConnectionManager(database, **{"min_size": 1, "max_size": 4, "timeout": 30, **numbers})

    return manager


@contextmanager
def client_of(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def shop(db: Any, **arguments: Any) -> FastAPI:
    """An application that writes down names; it sees what is committed through another connection."""
    app = FastAPI(lifespan=lifespan(db, **arguments))
    app.state.seen = []

    @app.post("/names/{name}")
    def add(name: str, session: SessionDep) -> None:
        session.execute(text("INSERT INTO names VALUES (:name)"), {"name": name})
        if name == "refused":
            raise HTTPException(409, "not this one")

    @app.get("/names")
    def names(session: ReadOnly) -> list[str]:
        return list(session.scalars(text("SELECT name FROM names ORDER BY name")))

    @app.get("/write")
    def write(session: ReadOnly) -> None:
        session.execute(text("INSERT INTO names VALUES ('never')"))

    @app.get("/plain")
    def plain(manager: Manager) -> int:
        answer: int = manager.execute_query("SELECT count(*) FROM names").scalar()
        return answer

    return app


@pytest.fixture
def db(make: Callable[..., DatabaseConnectionManager]) -> DatabaseConnectionManager:
    manager = make()
    manager.execute_query("CREATE TABLE names (name text UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    return manager


def test_what_a_request_wrote_is_committed_when_it_is_answered(db: DatabaseConnectionManager) -> None:
    with client_of(shop(db)) as client:
        for name in ("Ada", "Grace"):
            assert client.post(f"/names/{name}").status_code == 200
            assert name in client.get("/names").json()
        assert client.get("/plain").json() == 2
        assert db.stats().in_use == 0


def test_a_commit_that_fails_is_an_error_of_the_request(db: DatabaseConnectionManager) -> None:
    with client_of(shop(db)) as client:
        assert client.post("/names/Ada").status_code == 200
        assert client.post("/names/Ada").status_code == 500  # the constraint is looked at by the commit
        assert client.get("/names").json() == ["Ada"]


def test_an_operation_that_raises_is_rolled_back(db: DatabaseConnectionManager) -> None:
    with client_of(shop(db)) as client:
        assert client.post("/names/refused").status_code == 409
        assert client.get("/names").json() == []


def test_a_read_only_session_cannot_write(db: DatabaseConnectionManager) -> None:
    with TestClient(shop(db)) as client, pytest.raises(InternalError):
        client.get("/write")


def test_more_requests_than_threads_and_connections_are_all_served(
    make: Callable[..., DatabaseConnectionManager], db: DatabaseConnectionManager
) -> None:
    with client_of(shop(db)) as client:
        tasks = [Task(client.post, f"/names/{number}") for number in range(120)]
        assert [task.outcome(60).status_code for task in tasks] == [200] * 120
        assert client.get("/plain").json() == 120
        stats = db.stats()
        assert stats.in_use == stats.waiting == 0
        assert stats.size <= 4


def test_the_pool_is_warm_at_the_first_request_and_closed_after_the_last(db: DatabaseConnectionManager) -> None:
    with client_of(shop(db)) as client:
        assert db.stats().idle >= 1
        assert client.get("/names").status_code == 200
    with pytest.raises(DbkitError, match="closed"):
        db.execute_query("SELECT 1")


def test_a_factory_is_called_at_each_start(make: Callable[..., DatabaseConnectionManager]) -> None:
    made: list[DatabaseConnectionManager] = []

    def once_more() -> DatabaseConnectionManager:
        made.append(make())
        return made[-1]

    app = shop(once_more)
    for _ in range(2):
        with client_of(app) as client:
            assert client.get("/livez").status_code == 404  # no router here
            made[-1].execute_query("SELECT 1")
    assert len(made) == 2


def test_an_application_does_not_start_without_its_database() -> None:
    absent = DatabaseConnectionManager("postgresql://nobody@127.0.0.1:1/none", timeout=5)
    with pytest.raises(DBAPIError), TestClient(shop(absent)):
        pass
    with pytest.raises(DbkitError, match="closed"):
        absent.execute_query("SELECT 1")


def test_without_the_lifespan_the_error_says_what_to_do() -> None:
    app = FastAPI()

    @app.get("/")
    def root(session: SessionDep) -> None: ...

    with pytest.raises(DbkitError, match=r"FastAPI\(lifespan=lifespan\(db\)\)"):
        TestClient(app).get("/")


def test_alive_without_a_database_and_ready_only_with_one(make: Callable[..., DatabaseConnectionManager]) -> None:
    db = make(max_size=1)
    app = shop(db)
    app.include_router(health_router(ready_within=0.3))
    with client_of(app) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"], answer.json()["reason"]) == (200, True, "")
        with db.raw_connection():  # the only one
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reason"] == "the database did not answer within 0.3 s"
            assert client.get("/livez").json() == {"alive": True}
        assert eventually(lambda: client.get("/readyz").status_code == 200)
        db.close_connections()
        assert client.get("/readyz").json()["reason"] == "the pool is closed"
        assert client.get("/livez").status_code == 200


def test_not_ready_while_the_server_refuses_and_no_address_is_shown() -> None:
    absent = DatabaseConnectionManager("postgresql://nobody@127.0.0.1:1/none", timeout=5)
    app = FastAPI(lifespan=lifespan(absent, warm=False))
    app.include_router(health_router(prefix="/internal"))
    with client_of(app) as client:
        answer = client.get("/internal/readyz")
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert "nobody" not in answer.text


def test_ready_only_when_the_migrations_are_there(
    make: Callable[..., DatabaseConnectionManager], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(["init"]) == 0
    write_revision(tmp_path / "migrations", "one", None, "op.execute('CREATE TABLE one ()')")
    db = make()
    app = FastAPI(lifespan=lifespan(db))
    app.include_router(health_router(migrations="alembic.ini", ready_within=20))
    with client_of(app) as client:
        assert client.get("/readyz").json()["reason"] == "migrations are missing, up to one"
        db.migrate(config="alembic.ini")
        assert client.get("/readyz").status_code == 200


def test_the_profile_names_the_route(db: DatabaseConnectionManager) -> None:
    db.pool.start_profile(every=1)
    with client_of(shop(db)) as client:
        client.post("/names/Ada")
        client.get("/names")
        client.get("/plain")
        found = {use.endpoint for use in db.pool.profile().uses}
    assert found == {"POST /names/{name}", "GET /names", "GET /plain"}


def test_prometheus_reads_the_pool(db: DatabaseConnectionManager) -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    from dbkit.integrations.fastapi.metrics import metrics_router
    from dbkit.metrics.prometheus import PoolCollector

    app = shop(db)
    app.include_router(metrics_router(PoolCollector(db)))
    with client_of(app) as client:
        client.get("/names")
        families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    assert families["dbkit_connection_borrows"].samples[0].value >= 1
    assert "process_start_time_seconds" in families  # what else is registered
