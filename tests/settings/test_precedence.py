"""Which source wins, and what must not be mixed."""

from __future__ import annotations

import itertools

import pytest

from dbkit.errors import SettingsError
from dbkit.settings import DatabaseSettings

KEYS = {"host": "DB_HOST", "port": "DB_PORT", "username": "DB_USER", "password": "DB_PASSWORD", "database": "DB_NAME"}


def plain(settings):
    return settings.password and settings.password.reveal()


# Single values, key by key

VALUES = {"host": "h{}", "port": "600{}", "username": "u{}", "password": "p{}", "database": "d{}", "max_size": "1{}"}
VARIABLES = KEYS | {"max_size": "DB_MAX_CONN"}


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=4)))
def test_the_strongest_source_wins_key_by_key(tmp_path, key, given):
    argument, environment, dotenv, ini = given
    (tmp_path / ".env").write_text(f"{VARIABLES[key]}={VALUES[key].format(2)}" if dotenv else "")
    (tmp_path / "app.ini").write_text(f"[postgresql]\n{key}={VALUES[key].format(3)}" if ini else "[postgresql]")
    settings = DatabaseSettings.from_ini(
        "app.ini",
        environ={VARIABLES[key]: VALUES[key].format(1)} if environment else {},
        **({key: VALUES[key].format(0)} if argument else {}),
    )
    got = {**settings.connect_params(), "password": plain(settings), "max_size": settings.policy.max_size}
    name = {"username": "user", "database": "dbname"}.get(key, key)
    origins = (
        "argument",
        f"environment variable {VARIABLES[key]}",
        f"the file .env, {VARIABLES[key]}",
        f"app.ini, [postgresql] {key}",
    )
    if any(given):
        winner = given.index(True)
        assert str(got[name]) == VALUES[key].format(winner)
        assert settings.origin(key) == origins[winner]
    else:
        assert settings.origin(key) == ("default" if key == "max_size" else "libpq")


# What describes a server is not mixed with another

ENV = {
    "DB_HOST": "prod",
    "DB_PORT": "6543",
    "DB_USER": "app",
    "DB_PASSWORD": "pw",
    "DB_NAME": "shop",
    "DB_MAX_CONN": "4",
}


@pytest.mark.parametrize("source", ["postgresql://localhost/test", {"host": "localhost", "database": "test"}])
def test_a_stray_environment_neither_redirects_nor_lends_its_login(load, source):
    settings = load(source, environ=ENV)
    assert (settings.target, plain(settings)) == ("localhost/test", None)
    assert settings.policy.max_size == 4  # the pool's numbers are about the program, not the server


@pytest.mark.parametrize("source", ["postgresql://app@prod:5433/shop", {"host": "prod", "user": "app", "port": 5433}])
def test_the_password_of_the_same_server_and_user_fills_in(load, source):
    settings = load(source, environ=ENV)
    assert (settings.host, settings.port, settings.username, plain(settings)) == ("prod", 5433, "app", "pw")
    assert settings.origin("password") == "environment variable DB_PASSWORD"


@pytest.mark.parametrize("source", ["postgresql://app@prod/shop", {"host": "prod", "user": "app"}, {"user": "app"}])
def test_a_password_alone_fills_in(load, source):
    assert plain(load(source, environ={"DB_PASSWORD": "pw"})) == "pw"


@pytest.mark.parametrize(
    "source", ["postgresql://admin@prod/shop", {"host": "prod", "user": "admin"}, {"user": "admin"}]
)
def test_a_password_goes_with_its_user(load, source):
    settings = load(source, environ=ENV)
    assert (settings.username, plain(settings)) == ("admin", None)


def test_a_port_left_out_of_a_url_is_not_filled_in(load, tmp_path):
    (tmp_path / ".env").write_text("DB_PORT=6543\nDB_NAME=other")
    for settings in (load("postgresql://h"), load(environ={"DATABASE_URL": "postgresql://h"})):
        assert (settings.port, settings.database) == (None, None)


def test_a_mapping_takes_what_it_leaves_out_from_the_same_server(load):
    """``{"host": os.getenv("DB_HOST", "prod"), "port": os.getenv("DB_PORT")}``"""
    settings = load({"host": "prod", "port": None}, environ=ENV | {"DB_HOSTADDR": "10.0.0.1"})
    assert (settings.target, settings.options["hostaddr"]) == ("app@prod:6543/shop", "10.0.0.1")
    assert load({"host": "h"}, environ={"DB_PORT": "6543"}).port == 6543


def test_keyword_arguments_adjust(load):
    settings = load(environ=ENV, host="replica", username="reader")
    assert (settings.target, plain(settings)) == ("reader@replica:6543/shop", "pw")
    assert load("postgresql://app@h:1/d", database="e", port=2).target == "app@h:2/e"


def test_a_service_in_code_takes_no_host_from_elsewhere(load):
    settings = load({"service": "shop"}, environ=ENV)
    assert (settings.host, settings.port, settings.target) == (None, None, "service=shop")


def test_database_url_of_the_environment_over_dotenv(load, tmp_path):
    (tmp_path / ".env").write_text("DB_HOST=localhost\nDB_PORT=6543\nDB_USER=dev\nDB_PASSWORD=dev\nDB_MAX_CONN=3")
    settings = load(environ={"DATABASE_URL": "postgresql://app@prod/shop"})
    assert (settings.target, plain(settings), settings.policy.max_size) == ("app@prod/shop", None, 3)


def test_single_variables_over_the_url_of_dotenv(load, tmp_path):
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://app:pw@prod:6543/shop")
    assert load(environ={"DB_HOST": "localhost"}).target == "app@localhost:6543/shop"


def test_only_one_url_is_read(load, tmp_path):
    (tmp_path / ".env").write_text("DATABASE_URL=mysql://nonsense")
    stray = {"DATABASE_URL": "sqlite:///x.db"}
    assert load("postgresql://h", environ=stray).host == "h"
    assert load({"host": "h"}, environ=stray).host == "h"
    assert load(environ={"DATABASE_URL": "postgresql://h"}).host == "h"


def test_url_and_variables_side_by_side_add_up(load):
    settings = load(environ=ENV | {"DATABASE_URL": "postgresql://app@prod"})
    assert (settings.target, plain(settings)) == ("app@prod:6543/shop", "pw")


def test_url_and_variables_side_by_side_that_disagree(load, refused):
    faults = refused(environ=ENV | {"DATABASE_URL": "postgresql://app:other@localhost:6543/shop"})
    assert {(f.key, f.value, f.origin) for f in faults} == {
        ("host", "'prod'", "environment variable DB_HOST"),
        ("password", "", "environment variable DB_PASSWORD"),
    }
    assert all("environment variable DATABASE_URL says otherwise" in fault.reason for fault in faults)
    [fault] = refused(environ={"DATABASE_URL": "postgresql://prod/shop", "DB_PORT": "6543"})
    assert (fault.key, fault.value) == ("port", "'6543'")
    assert load(environ={"DATABASE_URL": "postgresql://prod/shop", "DB_PORT": "6543"}, port=5432).port == 5432


def test_two_spellings_in_one_source(load, refused):
    assert load({"user": "u", "username": "u", "port": 5432}).username == "u"
    [fault] = refused({"user": "u", "username": "v"})
    assert (fault.key, fault.value, fault.reason) == (
        "username",
        "'v'",
        "mapping, user says otherwise; keep one of the two",
    )
    twice = {"DB_USER": "u", "DB_USERNAME": "v"}
    assert refused(environ=twice)
    assert load("postgresql://w@h/d", environ=twice).username == "w"  # nobody asks them
    assert load("postgresql://h", environ={"DB_NAME": "a", "DB_DATABASE": "b"}).database is None


def test_a_bad_value_that_is_not_used_is_harmless(load):
    assert load(environ={"DB_PORT": "abc"}, port=5432).port == 5432


# What libpq has of its own


def test_server_defaults(load):
    settings = load()
    assert settings.connect_params() == {
        "connect_timeout": 10,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 7,
        "tcp_user_timeout": 30_000,
        "fallback_application_name": "dbkit",
    }
    assert {settings.origin(key) for key in settings.connect_params()} == {"default"}


@pytest.mark.parametrize("seconds", [1, 2, 3, 7, 10, 30, 60, 600])
def test_network_timeout_bounds_both_kinds_of_silence(load, seconds):
    found = load({"network_timeout": str(seconds)}).connect_params()
    assert "network_timeout" not in found
    assert found["tcp_user_timeout"] == seconds * 1000
    idle, interval, count = (found[f"keepalives_{name}"] for name in ("idle", "interval", "count"))
    assert 1 <= idle <= max(1, seconds / 2)
    assert seconds <= idle + interval * count <= max(seconds + 1, seconds * 1.1)


@pytest.mark.parametrize("hosts", ["a,b", ["a", "b"], ("a", "b")])
def test_connect_timeout_is_dbkits_to_share_out_unless_somebody_sets_it(load, hosts):
    assert load({"host": hosts}).leaves_connect_timeout
    assert load({"host": hosts}).replace(max_size=5).leaves_connect_timeout
    assert not load({"host": hosts, "connect_timeout": 10}).leaves_connect_timeout
    assert not load({"host": hosts}, defaults={"connect_timeout": 8}).leaves_connect_timeout
    assert not load({"host": hosts}, environ={"PGCONNECT_TIMEOUT": "10"}).leaves_connect_timeout
    assert not load({"service": "s"}).leaves_connect_timeout


def test_network_timeout_gives_way_to_libpqs_own_words_and_may_be_left_to_the_system(load):
    settings = load({"network_timeout": 9, "keepalives_idle": 60})
    assert (settings.options["keepalives_idle"], settings.options["tcp_user_timeout"]) == (60, 9_000)
    assert (settings.origin("keepalives_idle"), settings.origin("tcp_user_timeout")) == ("mapping", "mapping")
    assert load({"network_timeout": 0}).options.keys() == {"connect_timeout", "fallback_application_name"}
    with pytest.raises(SettingsError, match=r"network_timeout='soon'.*whole number of seconds"):
        load({"network_timeout": "soon"})


def test_defaults_give_way(load):
    settings = load({"connect_timeout": 0, "keepalives": False, "tcp_user_timeout": "0", "application_name": "shop"})
    assert (
        settings.options["connect_timeout"]
        == settings.options["keepalives"]
        == settings.options["tcp_user_timeout"]
        == 0
    )
    assert settings.options["application_name"] == "shop"


def test_defaults_give_way_to_libpqs_environment_and_services(load):
    assert "connect_timeout" not in load(environ={"PGCONNECT_TIMEOUT": "3"}).options
    assert "keepalives" in load(environ={"PGCONNECT_TIMEOUT": "3"}).options
    only_name = {"fallback_application_name": "dbkit"}
    assert load(environ={"PGSERVICE": "s"}).options == only_name
    assert load(service="s").options == only_name | {"service": "s"}
    assert load().replace(service="s").options == only_name | {"service": "s"}
    assert load(sslmode="require").replace(service="s").options["sslmode"] == "require"
    assert load(environ={"PGSERVICE": "s"}).replace(host="h").options == only_name
