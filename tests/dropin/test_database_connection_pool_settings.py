"""``DatabaseConnectionPool`` goes by the environment and ``.env``, with its document's defaults."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from dbkit.dropin import DatabaseConnectionPool, NotInitializedError
from dbkit.dropin import database_connection_pool as module
from dbkit.errors import SettingsError

from ..pool.helpers import Admin, eventually
from .common import address_of, names_of_users, pool_of


def test_from_the_environment(users_database: str, environment: Callable[..., str], admin: Admin, caplog: Any):
    caplog.set_level(logging.INFO, "dbkit.dropin")
    name = environment(address_of(users_database))
    DatabaseConnectionPool.initialize_pool(minconn=3, maxconn=10)
    assert len(admin.pids(name)) == 3  # opened at once, as by psycopg2's own pool
    assert names_of_users() == ["Ada", "Grace"]
    DatabaseConnectionPool.close_all_connections()
    eventually(lambda: not admin.pids(name))
    assert caplog.messages == ["Connection pool created", "Connection pool closed"]


def test_from_an_env_file(users_database: str, tmp_path: Path, environment: Callable[..., str]):
    address = address_of(users_database)
    lines = [f"DB_{key.upper()}={address.pop(key)}\n" for key in ("port", "password")]
    (tmp_path / ".env").write_text("".join([*lines, "DB_HOST=no.such.host.invalid\n"]))
    environment(address)  # goes over the file
    DatabaseConnectionPool.initialize_pool(1, 2)
    assert names_of_users() == ["Ada", "Grace"]


def test_another_librarys_url_is_let_be(
    users_database: str, environment: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    environment(address_of(users_database))
    monkeypatch.setenv("DATABASE_URL", "mysql://elsewhere.invalid/other")
    DatabaseConnectionPool.initialize_pool(1, 2)
    assert names_of_users() == ["Ada", "Grace"]


DEFAULTS = [
    ({"user", "password", "dbname", "host"}, 'user "your_user"'),
    ({"dbname"}, 'database "your_database" does not exist'),
    ({"password"}, 'password authentication failed for user "postgres"'),
]


@pytest.mark.parametrize(("unset", "refusal"), DEFAULTS)
def test_what_the_environment_leaves_out_is_as_in_the_document(
    address: dict[str, Any],
    environment: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    unset: set[str],
    refusal: str,
):
    environment(address)
    for key in unset:
        monkeypatch.delenv(f"DB_{key.upper()}")
    with pytest.raises(psycopg2.OperationalError, match=refusal):
        DatabaseConnectionPool.initialize_pool(1, 2)


def test_the_port_and_the_host_are_as_in_the_document():
    with pytest.raises(psycopg2.OperationalError, match='"localhost"') as caught:
        DatabaseConnectionPool.initialize_pool(1, 2)  # nothing is set, so nobody answers or nobody knows your_user
    assert "port 5432" in str(caught.value)


def test_settings_that_make_no_sense_are_refused_and_named(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, port="many")
    with pytest.raises(SettingsError, match=r"(?s)DB_PORT.*max_conn"):
        DatabaseConnectionPool.initialize_pool(minconn=0, maxconn=0)
    with pytest.raises(NotInitializedError):
        DatabaseConnectionPool.get_connection()


def test_forgotten_connections_are_reported_unless_the_environment_says_no(
    environment: Callable[..., str], address: dict[str, Any]
):
    for said, expected in ((None, 60), ("7", 7), ("none", None)):
        environment(address, **({} if said is None else {"leak_after": said}))
        DatabaseConnectionPool.initialize_pool(0, 1)
        assert pool_of(module).policy.leak_after == expected
        DatabaseConnectionPool.close_all_connections()
