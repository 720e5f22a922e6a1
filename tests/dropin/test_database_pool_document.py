"""``DatabasePool``: its document's code as it stands there."""

from __future__ import annotations

import contextlib
import logging
import sys
import textwrap
import types
from typing import Any

import psycopg2
import pytest

from dbkit.dropin import DatabasePool
from dbkit.dropin import database_pool as module

from ..pool.helpers import Admin
from .common import pool_of
from .documents import block, changed, document
from .repositories import MoviesRepository, OrdersRepository, Repository, settings_for


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


def test_the_documents_user_repository(app_address: dict[str, Any]):
    code = changed(
        block("003", "class UserRepository"),
        a="from app.core.database import DatabasePool -> from dbkit.dropin import DatabasePool",
    )
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
