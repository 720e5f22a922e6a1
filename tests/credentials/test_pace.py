"""How an attempt's time goes to several addresses, where nobody set ``connect_timeout``. No server, its own clock."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psycopg2
import pytest

from dbkit import DatabaseSettings
from dbkit.connector import Connector, Pace
from dbkit.engine import build_engine
from dbkit.pool.internals import creator_of
from dbkit.runtime import deadlines
from dbkit.runtime.addresses import Addresses


class Servers:
    """A driver's ``connect`` to some addresses, each of which takes so many seconds to answer; None: it refuses.

    Keeps how long each of them was given, by attempt.
    """

    def __init__(self, monkeypatch, *answers):
        self.answers, self.now, self.given = answers, 100.0, []
        monkeypatch.setattr("dbkit.connector.time", SimpleNamespace(monotonic=lambda: self.now))

    def __call__(self, *, connect_timeout, **_):
        self.given.append(connect_timeout)
        for answer in self.answers:
            self.now += min(answer or 0.0, connect_timeout)
            if answer is not None and answer <= connect_timeout:
                return "a connection"
        raise psycopg2.OperationalError("timeout expired")

    def connector(self, timeout):
        addresses = Addresses(["10.0.0.1"] * len(self.answers), look_up=True)
        params = {"host": "h", "connect_timeout": 10}
        return Connector("h", params, {}, None, lambda: None, connect=self, pace=Pace(addresses, timeout))


MUTE, REFUSES = 10_000.0, None


def test_a_good_one_behind_a_mute_one_is_reached_soon(monkeypatch):
    servers = Servers(monkeypatch, MUTE, 0.1)
    assert servers.connector(30.0)() == "a connection"
    assert (servers.given, servers.now) == ([2], 102.1)


def test_slow_ones_are_given_their_share_once_nobody_answered(monkeypatch):
    servers = Servers(monkeypatch, MUTE, 5.0)
    assert servers.connector(30.0)() == "a connection"
    assert servers.given == [2, 10]


@pytest.mark.parametrize(("answers", "given"), [
    ((MUTE, REFUSES), [2]),  # to wait longer for the mute one would delay the other's next chance
    ((REFUSES, REFUSES), [2]),
    ((MUTE, MUTE), [2, 10]),
    ((MUTE,), [10]),
])  # fmt: skip
def test_it_ends_within_the_pools_timeout(monkeypatch, answers, given):
    servers = Servers(monkeypatch, *answers)
    with pytest.raises(psycopg2.OperationalError):
        servers.connector(30.0)()
    assert servers.given == given
    assert servers.now <= 130.0


def test_a_deadline_hurries_the_first_round_alone(monkeypatch):
    servers = Servers(monkeypatch, MUTE, 4.0)
    deadline = SimpleNamespace(left=lambda: 2.5)
    token = deadlines.current.set(deadline)
    try:
        assert servers.connector(30.0)() == "a connection"  # for those who wait behind, and have more time
    finally:
        deadlines.current.reset(token)
    assert servers.given == [1, 10]


def pace_of(monkeypatch, host, **more):
    driver = more.pop("driver", "psycopg2")
    settings = DatabaseSettings.load({"host": host}, environ={}, env_file=None, driver=driver, timeout=7, **more)
    return creator_of(build_engine(settings, on_loop=driver == "asyncpg").pool)._pace


def test_the_users_connect_timeout_stands(monkeypatch):
    assert pace_of(monkeypatch, "a,b", connect_timeout=3) is None
    assert pace_of(monkeypatch, "a,b").timeout == 7


def test_every_address_of_a_name_counts(monkeypatch):
    found = {"one": 1, "two": 2}

    def resolver(name, *_, **__):
        if name not in found:
            raise socket.gaierror("no such name")
        return ["an address"] * found[name]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)

    def count(host, **more):
        return pace_of(monkeypatch, host, **more).addresses.count()

    assert [count(host) for host in ("one", "two", "one,two", "127.0.0.1", "::1,two", "/run", "unheard-of")] == [
        1, 2, 3, 1, 3, 1, 1,
    ]  # fmt: skip
    assert count("two", hostaddr="10.0.0.1") == 1
    assert count("two,two", driver="asyncpg") == 2  # whose time is for all addresses of a host
    assert Addresses([], look_up=True).count() == 1
