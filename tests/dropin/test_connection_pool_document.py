"""``ConnectionPool``: its document's examples as they stand there, on its mock database and on a real server."""

from __future__ import annotations

import random
import re
import threading
from typing import Any

import pytest

from dbkit.dropin.connection_pool import ConnectionPool

from .common import execute
from .documents import block, changed
from .psycopg2_database import Server

EXAMPLES = {
    "example_basic_usage": "Query result: ",
    "example_context_manager": "Connection automatically returned to pool",
    "example_concurrent_usage": "Final pool stats: {'total_connections': ",
    "example_pool_exhaustion": "Expected error: Timeout waiting for connection (1.0s)",
}

NEVER_HEALTHY, AS_IT_COMES = 0.0, None


def documents_code(monkeypatch: pytest.MonkeyPatch, luck: float | None, **changes: str) -> dict[str, Any]:
    """Return the document's mock database and its examples; with ``luck``, its dice always fall like that."""
    if luck is not None:
        monkeypatch.setattr(random, "random", lambda: luck)
    code = {"__name__": "document", "threading": threading, "ConnectionPool": ConnectionPool}
    exec(block("001", "class MockDatabase:"), code)
    exec(changed(block("001", "def example_basic_usage():"), **changes), code)
    return code


@pytest.mark.parametrize(
    ("example", "luck"),
    [
        *((example, AS_IT_COMES) for example in EXAMPLES),
        *((example, NEVER_HEALTHY) for example in list(EXAMPLES)[:3]),
    ],
)
def test_the_documents_examples(monkeypatch: pytest.MonkeyPatch, capsys: Any, example: str, luck: float | None):
    code = documents_code(monkeypatch, luck)
    code[example]()
    out = capsys.readouterr().out
    assert EXAMPLES[example] in out
    if example == "example_concurrent_usage":
        assert out.count("Worker ") == 9
    if example == "example_basic_usage":
        assert re.search(r"Query result: Result from connection \d+: SELECT \* FROM users", out)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_documents_examples_on_a_real_server(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, database: str, example: str
):
    execute(
        database,
        "CREATE TABLE users (id integer, name text); CREATE TABLE data (worker integer, query integer);"
        "INSERT INTO users VALUES (7, 'Ada')",
    )
    code = documents_code(monkeypatch, AS_IT_COMES, a="timeout=1.0 -> timeout=0.05")
    code["MockDatabase"] = lambda: Server(database)
    code[example]()
    out = capsys.readouterr().out
    assert EXAMPLES[example].replace("1.0s", "0.05s") in out
    if example == "example_basic_usage":
        assert "Query result: [(7, 'Ada')]" in out
