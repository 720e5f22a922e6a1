"""``PostgresqlConnection``: its document's example as it stands there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.postgresql_connection import PostgresqlConnection

from .blocks import in_use
from .common import address_of
from .documents import changed, document


def test_the_documents_example(users_database: str, environment: Callable[..., str]):
    environment(address_of(users_database))
    last = "PostgresqlConnection.close_all()\n"
    code = document("002").partition("```python\n")[2].partition(last)[0] + last  # its block has no end
    code = changed(code, a="from db_connection import -> from dbkit.dropin.postgresql_connection import")
    done: dict[str, Any] = {}
    exec(code.replace(last, f"rows = fetch_data()\n{last}"), done)
    assert done["rows"] == [(1, "Ada"), (2, "Grace")]
    assert not module._pool.is_open()
    assert done["fetch_data"]() == done["rows"]  # it opens a new one
    assert PostgresqlConnection() is done["db"]


def test_the_documents_example_tells_what_went_wrong(database: str, environment: Callable[..., str], capsys: Any):
    environment(address_of(database))
    code = document("002").partition("```python\n")[2].partition("# Shutdown")[0]
    done: dict[str, Any] = {}
    exec(changed(code, a="from db_connection import -> from dbkit.dropin.postgresql_connection import"), done)
    assert done["fetch_data"]() is None
    assert capsys.readouterr().out.startswith('Error: relation "users" does not exist\n')
    assert in_use() == 0
