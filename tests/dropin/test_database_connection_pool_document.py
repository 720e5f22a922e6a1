"""``DatabaseConnectionPool``: its document's example and its ``.env`` file, as they stand there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dbkit.dropin import DatabaseConnectionPool, NotInitializedError

from .common import address_of, names_of_users
from .documents import block, changed, document


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
