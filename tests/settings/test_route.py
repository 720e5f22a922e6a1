"""Where a password travels, and when a token must not."""

from __future__ import annotations

import re
import socket

import psycopg2
import pytest

from dbkit.settings.keys import LIBPQ_VARIABLES
from dbkit.settings.route import Route, find_route

LOCAL = [
    "localhost",
    "LOCALHOST",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "/run/postgresql",
    "@abstract",
    "localhost,::1,/tmp",
]
REMOTE = ["db.example", "10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "localhost.example", "localhost,db.example",
          "127.1", "127.0.0.1.example", "1.2.3", "/tmp,10.0.0.1", "128.0.0.1"]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
def test_local(load, host):
    for settings in (load(host=host), load(environ={"PGHOST": host}), load(host=host, sslmode="disable")):
        assert settings.route.local and settings.route.refusal() is None
        assert settings.route.hosts == tuple(host.split(","))


@pytest.mark.parametrize("host", REMOTE)
def test_over_a_network(load, host):
    for settings in (load(host=host), load(environ={"PGHOST": host})):
        assert not settings.route.local and settings.route.refusal()
    for settings in (load(host=host, sslmode="verify-full"), load(host=host, environ={"PGSSLMODE": "verify-full"})):
        assert not settings.route.local
        assert settings.route.verified and settings.route.refusal() is None


def test_nobody_names_a_host(load):
    """libpq then takes its own socket."""
    assert load().route == Route(hosts=(), sslmode=None, local=True, verified=False)
    assert load(environ={"PGHOST": "", "PGHOSTADDR": "", "PGSSLMODE": "", "PGSERVICE": ""}).route == load().route


def test_the_address_decides_not_the_name(load):
    assert load(host="localhost", hostaddr="10.0.0.1").route.hosts == ("10.0.0.1",)
    assert not load(host="localhost", hostaddr="10.0.0.1").route.local
    assert not load(host="localhost", environ={"PGHOSTADDR": "10.0.0.1"}).route.local
    assert not load(environ={"PGHOST": "localhost", "PGHOSTADDR": "10.0.0.1"}).route.local
    assert load(host="db.example", hostaddr="127.0.0.1").route.local
    assert load(host="a,b", environ={"PGHOSTADDR": "127.0.0.1,"}).route.hosts == ("127.0.0.1", "b")
    assert load(host="a,b", environ={"PGHOSTADDR": "::1"}).route.hosts == ("::1",)


def test_settings_go_over_libpqs_variables(load):
    environ = {"PGHOST": "db.example", "PGSSLMODE": "verify-full"}
    route = load(environ=environ, host="10.0.0.1", sslmode="require").route
    assert (route.hosts, route.sslmode, route.verified) == (("10.0.0.1",), "require", False)
    assert load(environ=environ, host="/tmp").route.local


@pytest.mark.parametrize("mode", [None, "disable", "allow", "prefer", "require", "verify-ca"])
def test_what_is_no_protection(load, mode):
    route = load(host="db.example,/tmp,other.example", sslmode=mode).route
    assert not route.verified
    reason = route.refusal()
    assert "db.example, other.example" in reason and "/tmp" not in reason
    assert (f"sslmode={mode}" if mode else "default sslmode") in reason
    for advice in ("sslmode=verify-full", "sslrootcert=system", "provider's CA", "allow_insecure_token"):
        assert advice in reason
    assert "\n" not in reason and not reason.endswith(".")


def test_an_unknown_sslmode_of_libpqs_variable_is_no_protection(load):
    assert load(host="h", environ={"PGSSLMODE": "Verify-Full"}).route.refusal()


# A service may say anything

SERVICES = [({"service": "shop"}, {}), ({}, {"PGSERVICE": "shop"})]


@pytest.mark.parametrize("given, environ", SERVICES)
def test_a_service_is_neither_local_nor_verified(load, given, environ):
    for more in ({}, {"host": "localhost"}, {"sslmode": "verify-full"}, {"host": "/tmp"}, {"hostaddr": "::1"}):
        route = load(environ=environ, **given, **more).route
        assert (route.local, route.verified, route.service) == (False, False, "shop")
        assert "service shop" in route.refusal() and "sslmode=verify-full" in route.refusal()
    environ = environ | {"PGHOST": "localhost", "PGSSLMODE": "verify-full"}  # the service goes over these
    assert load(environ=environ, **given).route.refusal()


@pytest.mark.parametrize("given, environ", SERVICES)
def test_beside_a_service_ones_own_settings_count(load, given, environ):
    full = load(environ=environ, **given, host="db.example", sslmode="verify-full").route
    assert full == Route(("db.example",), "verify-full", local=False, verified=True)
    assert full.refusal() is None
    weak = load(environ=environ, **given, host="db.example", sslmode="require").route
    assert weak.service is None and "db.example" in weak.refusal() and "service" not in weak.refusal()
    near = load(environ=environ, **given, host="db", hostaddr="127.0.0.1", sslmode="prefer").route
    assert near.local and near.refusal() is None


@pytest.mark.parametrize("given, environ", SERVICES)
def test_a_local_name_is_not_enough_beside_a_service(load, given, environ):
    """For the service may have a ``hostaddr``."""
    route = load(environ=environ, **given, host="localhost", sslmode="prefer").route
    assert not route.local and "service shop" in route.refusal()
    assert load(environ=environ, **given, host="localhost", sslmode="verify-full").route.refusal() is None


# As part of settings


def test_replace_keeps_what_was_seen(load):
    settings = load(environ={"PGHOST": "db.example", "PGSSLMODE": "verify-full"})
    assert settings.replace(port=1).route == settings.route
    assert settings.replace(host="localhost").route.local
    assert settings.replace(sslmode="require").replace(port=1).route.refusal()


def test_the_process_may_change_its_mind(load, monkeypatch):
    monkeypatch.setenv("PGHOST", "db.example")
    assert load().route.local  # the environment given counts
    environ = {"PGHOST": "db.example"}
    settings = load(environ=environ)
    environ["PGHOST"] = "localhost"
    assert not settings.route.local


def test_settings_are_equal_by_what_they_say(load):
    """libpq's variables are the process's, whatever a mapping says."""
    one, other = load(host="h"), load(host="h", environ={"PGSSLMODE": "verify-full", "PGHOSTADDR": "::1"})
    assert one == other and hash(one) == hash(other)
    assert "PGSSLMODE" not in repr(other) and "verify-full" not in repr(other)


def test_nothing_unprintable_in_the_reason():
    route = find_route(host="a\n\x1b[31mb", hostaddr=None, sslmode=None, service=None, variables={})
    assert "a??[31mb" in route.refusal()


def test_a_route_is_a_fact(load):
    with pytest.raises(AttributeError):
        load().route.local = False
    assert len({load().route, load(port=1).route}) == 1


# libpq's own word for it


@pytest.fixture
def tried(monkeypatch):
    """Where libpq goes to, by its own error: nobody listens on the port, here or in the folder."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        def tried(settings, environ):
            for name in LIBPQ_VARIABLES:
                monkeypatch.delenv(name, raising=False)
            for name, value in environ.items():
                monkeypatch.setenv(name, value)
            with pytest.raises(psycopg2.OperationalError) as caught:
                psycopg2.connect(**settings.replace(port=port, connect_timeout=5).connect_params())
            found = re.findall(r'server (?:at "([^"]*)"(?: \(([^)]*)\))?|on socket "([^"]*)/)', str(caught.value))
            return [folder or address or name for name, address, folder in found]

        yield tried


@pytest.mark.parametrize("given, environ, goes_to", [
    ({"host": "localhost"}, {"PGHOSTADDR": "127.0.0.2"}, ["127.0.0.2"]),
    ({"hostaddr": "127.0.0.2"}, {"PGHOST": "/nowhere"}, ["127.0.0.2"]),
    ({"host": "127.0.0.3"}, {"PGHOST": "/nowhere"}, ["127.0.0.3"]),
    ({}, {"PGHOST": "/nowhere"}, ["/nowhere"]),
    ({"host": "localhost,127.0.0.3"}, {"PGHOSTADDR": "127.0.0.2,"}, ["127.0.0.2", "127.0.0.3"]),
])  # fmt: skip
def test_libpq_goes_where_the_route_says(load, tried, given, environ, goes_to):
    settings = load(given, environ=environ)
    assert tried(settings, environ) == goes_to
    assert settings.route.hosts == tuple(goes_to)


def test_libpq_goes_where_a_service_says_though_a_host_is_given(load, tried, tmp_path, monkeypatch):
    (tmp_path / "services").write_text("[shop]\nhostaddr=127.0.0.2\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    settings = load(service="shop", host="/nowhere", sslmode="prefer")
    assert tried(settings, {}) == ["127.0.0.2"]
    assert not settings.route.local


def test_libpqs_default_is_a_socket(load, tried):
    [folder] = tried(load(), {})
    assert folder.startswith("/") and load(host=folder).route.local
