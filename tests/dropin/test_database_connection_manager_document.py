"""``DatabaseConnectionManager``: its document's examples and its ``.env`` file, as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from dbkit.dropin import DatabaseConnectionManager
from dbkit.pool.errors import PoolClosedError

from .common import address_of, execute
from .documents import blocks, changed, document

IMPORT = "from db_manager import DatabaseConnectionManager -> from dbkit.dropin import DatabaseConnectionManager"


@pytest.fixture
def active_users(users_database: str) -> dict[str, Any]:
    """Return the address of a database in which one user of two is active."""
    execute(users_database, "ALTER TABLE users ADD COLUMN active boolean; UPDATE users SET active = (name = 'Ada')")
    return address_of(users_database)


def test_the_documents_first_steps(active_users: dict[str, Any], capsys: Any):
    make, ask, close = blocks("004")[:3]
    names: dict[str, Any] = {}
    exec(
        changed(
            make,
            a=IMPORT,
            b=f'"localhost" -> "{active_users["host"]}"',
            c=f"5432 -> {active_users['port']}",
            d=f'"user", -> "{active_users["user"]}",',
            e=f'"pass" -> "{active_users["password"]}"',
            f=f'"test_db" -> "{active_users["dbname"]}"',
        ),
        names,
    )
    exec(ask, names)
    assert capsys.readouterr().out == "(1, 'Ada', True)\n"
    exec(close, names)
    with pytest.raises(PoolClosedError):
        exec(ask, names)


def test_the_documents_use_case(active_users: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any):
    for variable, key in (("HOST", "host"), ("PORT", "port"), ("USER", "user"), ("PASSWORD", "password")):
        monkeypatch.setenv(f"DB_{variable}", str(active_users[key]))
    monkeypatch.setenv("DB_NAME", active_users["dbname"])
    loaded, use_case = blocks("004")[3:]
    names: dict[str, Any] = {"DatabaseConnectionManager": DatabaseConnectionManager}
    exec(loaded, names)
    names["db_manager"].close_connections()
    exec(changed(use_case, a=IMPORT), names)  # `os` is the block's before it
    assert capsys.readouterr().out == "(1, 'Ada', True)\n"


def test_the_documents_env_file(active_users: dict[str, Any], tmp_path: Path):
    example = re.search(r"^DB_HOST=.*?^DB_NAME=\w+\n", document("004"), re.DOTALL | re.MULTILINE)
    assert example is not None
    file = changed(
        example[0],
        a=f"localhost -> {active_users['host']}",
        b=f"5432 -> {active_users['port']}",
        c=f"DB_USER=user -> DB_USER={active_users['user']}",
        d=f"DB_PASSWORD=pass -> DB_PASSWORD={active_users['password']}",
        e=f"test_db -> {active_users['dbname']}",
    )
    (tmp_path / ".env").write_text(file)
    assert "DB_HOST" not in os.environ
    with DatabaseConnectionManager() as db:
        assert len(db.execute_query("SELECT * FROM users")) == 2
