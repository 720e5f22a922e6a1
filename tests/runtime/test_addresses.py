"""How many addresses an attempt may have to go through."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dbkit.runtime.addresses import Addresses


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A resolver that knows two addresses of ``two`` and none of ``none``; the names that it was asked for."""
    names: list[str] = []

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        names.append(name)
        if name == "none":
            raise socket.gaierror("unknown")
        if name == "x" * 70:
            raise UnicodeError("label too long")
        return [object()] * 2

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


@pytest.mark.parametrize(
    ("hosts", "names", "count"),
    [
        ([], [], 1),
        (["two"], ["two"], 2),
        (["two", "10.0.0.1", "two"], ["two", "two"], 5),
        (["none"], ["none"], 1),
        (["x" * 70, "two"], ["x" * 70, "two"], 3),
        (["10.0.0.1", "::1"], [], 2),
        (["/var/run/postgresql", "@abstract", ""], [], 3),
    ],
)
def test_each_address_of_each_name_counts(hosts: list[str], names: list[str], count: int, asked: list[str]):
    found = Addresses(hosts, look_up=True)
    assert list(found.names) == names
    assert asked == []
    assert found.count() == count
    assert asked == names
    found.count()
    assert asked == names * 2  # names may get others


def test_for_a_driver_that_gives_a_name_one_time_each_counts_once(asked: list[str]):
    found = Addresses(["two", "10.0.0.1"], look_up=False)
    assert found.names == ()
    assert found.count() == 2
    assert asked == []
