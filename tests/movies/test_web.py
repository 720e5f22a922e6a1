"""The shop as an application: what a client sees."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from dbkit import DatabaseConnectionManager
from examples.movies.generate import generate_movies
from examples.movies.loading import load_movies
from examples.movies.web import make_app

from ..pool.helpers import Task, eventually
from ..standby import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(fresh_db: DatabaseConnectionManager) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another HTTP library
        from fastapi.testclient import TestClient
    load_movies(fresh_db, generate_movies(200))
    with TestClient(make_app(fresh_db, token="sixteen-and-more-letters")) as found:
        yield found


def test_a_customer_buys_what_was_found(client: Any) -> None:
    found = client.get("/movies", params={"words": "the", "limit": 3}).json()
    assert len(found) == 3
    user = client.post("/users", json={"email": "ada@example.org", "name": "Ada"}).json()
    price = client.patch(f"/movies/{found[0]['id']}/price", params={"cents": 250})
    assert price.status_code == 204
    order = {"user_id": user["id"], "quantities": {found[0]["id"]: 2}}
    assert client.post("/orders", json=order).json()["total_cents"] == 500
    assert client.get("/users/best").json()[0]["spent_cents"] == 500
    assert client.get("/readyz").json()["ready"] is True


def test_what_cannot_be_is_told_in_words(client: Any) -> None:
    user = {"email": "ada@example.org", "name": "Ada"}
    assert client.post("/users", json=user).status_code == 201
    assert client.post("/users", json=user).status_code == 409
    assert client.post("/users", json={"email": "nobody", "name": "Ada"}).status_code == 422
    assert client.patch("/movies/0/price", params={"cents": 1}).status_code == 404
    [movie] = client.get("/movies/top", params={"limit": 1}).json()
    assert client.post("/orders", json={"user_id": 0, "quantities": {movie["id"]: 1}}).status_code == 404
    assert client.post("/orders", json={"user_id": 1, "quantities": {movie["id"]: 101}}).status_code == 409


def test_sixty_requests_at_once_leave_nothing_behind(client: Any, fresh_db: DatabaseConnectionManager) -> None:
    user = client.post("/users", json={"email": "ada@example.org", "name": "Ada"}).json()["id"]
    movie = client.get("/movies/top", params={"limit": 1}).json()[0]["id"]
    order = {"user_id": user, "quantities": {movie: 1}}
    answers = [task.outcome(60) for task in [Task(partial(client.post, "/orders", json=order)) for _ in range(60)]]
    assert {answer.status_code for answer in answers} == {201}
    assert client.get("/users/best").json()[0]["orders"] == 60
    stats = fresh_db.stats()
    assert stats.in_use == stats.waiting == 0


def test_it_is_served_until_ctrl_c() -> None:
    import urllib.request

    port = free_port()
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("DB_", "DATABASE_URL"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.movies.serve", "--port", str(port), "--count", "50"],
        cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        shown = ""
        while "Ctrl-C ends it." not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        token = re.search(r"/pool#token=(\S+)", shown)
        assert token is not None
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/pool", headers={"Authorization": f"Bearer {token[1]}"}
        )
        eventually(lambda: _answers(port) or process.poll() is not None)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert b'"name":"movies"' in answer.read()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert "Traceback" not in rest
        assert process.returncode in (0, 130)
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
