"""A ``database`` for ``ConnectionPool`` whose connections are psycopg2's, on a real server."""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2 import extensions

from ..pool.helpers import unique


class Executing(extensions.connection):
    """A psycopg2 connection with the method that the document's examples call."""

    def execute(self, query: str) -> Any:
        with self.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else cursor.rowcount


class Server:
    """A ``database`` whose connections are psycopg2's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = unique("dropin")

    def create_connection(self) -> Any:
        return psycopg2.connect(self.url, application_name=self.name, connection_factory=Executing)
