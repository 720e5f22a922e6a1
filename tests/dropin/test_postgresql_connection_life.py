"""There is one ``PostgresqlConnection``, and one pool below it, until the end and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.errors import ClosedError
from dbkit.dropin.postgresql_connection import PostgresqlConnection

from ..pool.helpers import Admin, Task, eventually, in_line
from .blocks import in_use
from .common import address_of, pool_of


def test_a_subclass_has_an_object_of_its_own_and_the_same_pool(db: PostgresqlConnection):
    class Mine(PostgresqlConnection):
        pass

    assert type(Mine()) is Mine
    assert Mine() is Mine()
    assert type(PostgresqlConnection()) is PostgresqlConnection
    with Mine():
        assert in_use() == 1


def test_the_end_of_what_was_never_begun():
    PostgresqlConnection.close_all()
    PostgresqlConnection.close_all()


def test_after_the_end_the_next_use_goes_by_the_settings_of_then(
    db: PostgresqlConnection, environment: Callable[..., str], address: dict[str, Any], database: str, admin: Admin
):
    name = environment(address)
    PostgresqlConnection.close_all()
    db.close_all()
    with db as conn:
        assert conn.info.dbname == address["dbname"]
        PostgresqlConnection.close_all()
        with conn.cursor() as cursor:  # a block under way may be finished
            cursor.execute("SELECT 1")
        other = environment(address_of(database))
        with db as elsewhere:
            assert elsewhere.info.dbname == address_of(database)["dbname"]
    eventually(lambda: not admin.pids(name) and len(admin.pids(other)) == 1)


def test_those_that_wait_at_the_end_are_told(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, max_conn=1)
    db = PostgresqlConnection()

    def wait() -> None:
        with db:
            pass

    with db:
        waiter = Task(wait)
        in_line(pool_of(module), 1)
        PostgresqlConnection.close_all()
        with pytest.raises(ClosedError):
            waiter.outcome()
