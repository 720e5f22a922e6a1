"""The arguments of ``DatabasePool.initialize``, the environment beside them, and what the log says of them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest

from dbkit.dropin import DatabasePool
from dbkit.dropin import database_pool as module

from ..pool.helpers import Admin
from .common import CANARY, pool_of


def test_the_arguments_and_their_defaults():
    parameters = inspect.signature(DatabasePool.initialize).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "host": "localhost",
        "port": 5432,
        "dbname": "postgres",
        "user": "postgres",
        "password": "mysecretpassword",
        "min_connections": 2,
        "max_connections": 10,
    }


def test_numbers_may_come_as_text(address: dict[str, Any], caplog: Any):
    caplog.set_level(logging.INFO, "dbkit.dropin")
    port = str(address.pop("port"))
    DatabasePool.initialize(**address, port=port, min_connections="1", max_connections="3")  # type: ignore[arg-type]
    assert (pool_of(module).policy.min_size, pool_of(module).policy.max_size) == (1, 3)
    assert caplog.messages[-1] == "Initialized database connection pool (1-3 connections)"


def test_arguments_go_over_the_environment_which_gives_the_rest(
    address: dict[str, Any], environment: Callable[..., str], admin: Admin
):
    name = environment(dict.fromkeys(address, "1"), max_conn=1, hostaddr="192.0.2.1", timeout=7)
    DatabasePool.initialize(**address)
    assert len(admin.pids(name)) == 2
    assert (pool_of(module).policy.max_size, pool_of(module).policy.timeout) == (10, 7)


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_none_is_left_to_the_environment(address: dict[str, Any], monkeypatch: pytest.MonkeyPatch, way: str):
    password = address.pop("password")
    monkeypatch.setenv("DB_PASSWORD", password if way == "environment" else CANARY)
    DatabasePool.initialize(**address, password=None if way == "environment" else password)
    assert DatabasePool.is_initialized()


def test_its_log(address: dict[str, Any], caplog: Any):
    caplog.set_level(logging.DEBUG)
    where = f"{address['host']}:{address['port']}/{address['dbname']}"
    DatabasePool.initialize(**address, min_connections=1, max_connections=3)
    DatabasePool.close()
    DatabasePool.close()
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "dbkit.dropin"]
    assert told == [
        ("INFO", f"Connecting to PostgreSQL at {where}"),
        ("INFO", "Created connection pool with 1-3 connections"),
        ("INFO", "Initialized database connection pool (1-3 connections)"),
        ("INFO", "Closed database connection pool"),
        ("INFO", "Database connection pool closed"),
    ]
    assert address["password"] not in caplog.text
