"""An application of FastAPI whose lifespan is that of ``DatabasePool``'s pool."""

from __future__ import annotations

import logging
import warnings
from contextlib import asynccontextmanager
from typing import Any

from dbkit.dropin import DatabasePool

from ..pool.helpers import Task
from .documents import block
from .repositories import MoviesRepository, MoviesService, settings_for


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
