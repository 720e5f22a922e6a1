"""The same application on an event loop: an async manager, and sessions that commit before the response."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from sqlalchemy import text

pytest.importorskip("fastapi")

from fastapi import Depends, FastAPI, HTTPException

from dbkit import AsyncDatabaseConnectionManager, DbkitError
from dbkit.integrations.fastapi import (
    AsyncSessionDep,
    SessionDep,
    async_database,
    health_router,
    lifespan,
    pool_router,
)
from dbkit.integrations.fastapi.metrics import metrics_router
from dbkit.metrics.prometheus import PoolCollector
from dbkit.migrate.__main__ import main as init

from ..migrate.conftest import write_revision

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have another HTTP library
    from fastapi.testclient import TestClient

TOKEN = "sixteen-and-more-letters"
Manager = Annotated[AsyncDatabaseConnectionManager, Depends(async_database)]


@pytest.fixture
def client(server: object, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.chdir(tmp_path)
    assert init(["init"]) == 0
    write_revision(tmp_path / "migrations", "one", None, "op.execute('CREATE TABLE names (name text)')")
    db = AsyncDatabaseConnectionManager(database, min_size=1, max_size=4, timeout=30)
    app = FastAPI(lifespan=lifespan(db, migrate=True))
    app.include_router(health_router(migrations="alembic.ini", ready_within=20))
    app.include_router(pool_router(token=TOKEN))
    app.include_router(metrics_router(PoolCollector(db)))

    @app.post("/names/{name}")
    async def add(name: str, session: AsyncSessionDep) -> None:
        await session.execute(text("INSERT INTO names VALUES (:name)"), {"name": name})
        if name == "refused":
            raise HTTPException(409, "not this one")

    @app.get("/names")
    async def names(manager: Manager) -> list[str]:
        return [row.name for row in await manager.execute_query("SELECT name FROM names ORDER BY name")]

    @app.get("/wrong")
    def wrong(session: SessionDep) -> None: ...

    with TestClient(app) as found:
        yield found


def test_a_request_commits_before_it_is_answered_or_not_at_all(client: TestClient) -> None:
    assert client.post("/names/Ada").status_code == 200
    assert client.post("/names/refused").status_code == 409
    assert client.get("/names").json() == ["Ada"]


def test_it_is_ready_with_its_migrations_and_shows_its_pool(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (200, "")
    client.get("/names")
    pool = client.get("/pool", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert pool["borrows"] >= 1
    assert pool["in_use"] == pool["waiting"] == 0
    assert "db_client_connection_count" in client.get("/metrics").text


def test_a_blocking_session_is_refused_by_name(client: TestClient) -> None:
    with pytest.raises(DbkitError, match="AsyncSessionDep"):
        client.get("/wrong")
