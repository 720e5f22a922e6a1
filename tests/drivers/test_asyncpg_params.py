"""libpq's parameters as asyncpg takes them: each goes where it belongs, and none is dropped in silence."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dbkit.drivers.asyncpg_params import arguments, keep_alive
from dbkit.errors import SettingsError


@pytest.mark.parametrize(("params", "expected"), [
    ({}, {}),
    ({"host": "a", "port": "5432"}, {"host": "a", "port": 5432}),
    ({"host": "a,b", "port": "1,2"}, {"host": ["a", "b"], "port": [1, 2]}),
    ({"host": "/tmp/s", "port": 1}, {"host": "/tmp/s", "port": 1}),
    ({"dbname": "d", "connect_timeout": "3"}, {"database": "d", "timeout": 3.0}),
    ({"user": "u", "password": "p", "statement_cache_size": 0},
     {"user": "u", "password": "p", "statement_cache_size": 0}),
    ({"sslmode": "require", "sslrootcert": "/a b"}, {"dsn": "postgresql:///?sslmode=require&sslrootcert=%2Fa+b"}),
    ({"application_name": "x", "options": "-c a=b"},
     {"server_settings": {"application_name": "x", "options": "-c a=b"}}),
    ({"fallback_application_name": "x"}, {"server_settings": {"application_name": "x"}}),
    ({"application_name": "own", "fallback_application_name": "x"}, {"server_settings": {"application_name": "own"}}),
    ({"server_settings": {"jit": "off"}, "application_name": "x"},
     {"server_settings": {"jit": "off", "application_name": "x"}}),
    ({"server_settings": None}, {}),
    ({"keepalives": 1, "keepalives_idle": 5, "tcp_user_timeout": 3000, "gssencmode": "disable"}, {}),
])  # fmt: skip
def test_each_goes_where_it_belongs(params: dict[str, Any], expected: dict[str, Any]):
    assert arguments(params) == expected


def test_what_asyncpg_has_not_is_refused_by_name():
    with pytest.raises(SettingsError, match="asyncpg does not have") as caught:
        arguments({"host": "a", "load_balance_hosts": "random", "gssencmode": "prefer", "hostaddr": "127.0.0.1"})
    for name in ("load_balance_hosts", "gssencmode", "hostaddr"):
        assert name in str(caught.value)


def test_the_settings_of_the_server_are_copied():
    given = {"server_settings": {"jit": "off"}, "application_name": "x"}
    arguments(given)
    assert given["server_settings"] == {"jit": "off"}


def option(made: socket.socket, name: str) -> int:
    level = socket.SOL_SOCKET if name == "SO_KEEPALIVE" else socket.IPPROTO_TCP
    return made.getsockopt(level, getattr(socket, name))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="these are Linux's names")
def test_a_tcp_socket_is_kept_alive_as_libpq_keeps_its_own():
    wanted = {"keepalives": "1", "keepalives_idle": 33, "keepalives_interval": "7", "keepalives_count": 4}
    with socket.socket() as made:
        before = option(made, "TCP_USER_TIMEOUT")
        keep_alive(made, wanted)
        assert [option(made, name) for name in ("SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")] == [
            1, 33, 7, 4,
        ]  # fmt: skip
        assert option(made, "TCP_USER_TIMEOUT") == before
        keep_alive(made, {"keepalives": 0, "tcp_user_timeout": 1234})
        assert (option(made, "SO_KEEPALIVE"), option(made, "TCP_USER_TIMEOUT")) == (0, 1234)


def test_a_socket_in_a_folder_and_none_at_all_are_left_alone():
    wanted = {"keepalives": 1, "keepalives_idle": 33}
    keep_alive(None, wanted)
    own, other = socket.socketpair()
    with own, other:
        keep_alive(own, wanted)
        assert option(own, "SO_KEEPALIVE") == 0
