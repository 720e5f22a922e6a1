"""An application over ``DatabasePool`` as its document describes one: repositories without a pool of their own."""

from __future__ import annotations

import types
from typing import Any

from psycopg2.extras import RealDictCursor

from dbkit.dropin import DatabasePool


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


def settings_for(address: dict[str, Any]) -> types.SimpleNamespace:
    """Return an application's settings, in the document's names."""
    return types.SimpleNamespace(
        db_host=address["host"],
        db_port=address["port"],
        db_name=address["dbname"],
        db_user=address["user"],
        db_password=address["password"],
    )
