"""What a program says for the case that nobody says anything."""

from __future__ import annotations

import pytest

from dbkit.settings import DatabaseSettings

# those of one of the older pool classes
DEFAULTS = {
    "host": "localhost", "port": "5432", "database": "your_database", "username": "your_user",
    "password": "your_password", "min_size": 1,
}  # fmt: skip


@pytest.fixture
def target(load):
    """Where one connects to by these sources, and the password."""

    def target(*source, **given):
        settings = load(*source, defaults=given.pop("defaults", DEFAULTS), **given)
        return settings.target, settings.password and settings.password.reveal()

    return target


def test_for_what_nobody_gives(load, tmp_path):
    settings = load(defaults=DEFAULTS)
    assert settings.target == "your_user@localhost:5432/your_database"
    assert (settings.password.reveal(), settings.policy.min_size, settings.policy.max_size) == ("your_password", 1, 10)
    assert {settings.origin(key) for key in DEFAULTS} == {"default"}
    assert load(defaults={"user": "u", "dbname": "d"}).origin("username") == "default"
    assert load(defaults=None) == load(defaults={}) == load()
    assert load(defaults={"host": None}) == load() and load(defaults={"max_idle": None}).policy.max_idle is None
    assert load(defaults={"connect_timeout": 3}).options["connect_timeout"] == 3


def test_every_source_is_stronger(target, tmp_path):
    assert target(environ={"DB_HOST": "prod", "DB_USER": "app"}) == ("app@prod:5432/your_database", "your_password")
    assert target(environ={"DB_PASSWORD": "p"}) == ("your_user@localhost:5432/your_database", "p")
    assert target(host="h", database="d") == ("your_user@h:5432/d", "your_password")
    (tmp_path / ".env").write_text("DB_PORT=1")
    assert target(environ={"DB_HOST": ""})[0] == "your_user@localhost:1/your_database"
    (tmp_path / "app.ini").write_text("[postgresql]\ndbname=d\npassword=p")
    settings = DatabaseSettings.from_ini("app.ini", environ={}, env_file=None, defaults=DEFAULTS)
    assert (settings.target, settings.password.reveal()) == ("your_user@localhost:5432/d", "p")


@pytest.mark.parametrize("url, expected", [
    ("postgresql://app@prod", ("app@prod", None)),
    ("postgresql:///d", ("/d", None)),
    ("postgresql://localhost", ("your_user@localhost", "your_password")),
    ("postgresql://app@localhost/d", ("app@localhost/d", None)),
])  # fmt: skip
def test_a_url_takes_no_address_or_login_of_another_server(target, tmp_path, url, expected):
    assert target(url) == target(environ={"DATABASE_URL": url}) == expected
    (tmp_path / ".env").write_text(f"DATABASE_URL={url}")
    assert target() == expected


def test_defaults_without_a_host_fill_in_a_login(target):
    login = {"username": "u", "password": "p"}
    assert target("postgresql://h/d", defaults=login) == ("u@h/d", "p")
    assert target("postgresql://v@h/d", defaults=login) == ("v@h/d", None)


def test_a_mapping_takes_no_login_of_another_server(target):
    assert target({"host": "prod"}) == ("prod", None)
    assert target({"host": "localhost", "port": None}) == ("your_user@localhost:5432/your_database", "your_password")
    assert target({"user": "admin"}) == ("admin@localhost:5432/your_database", None)


def test_defaults_do_not_come_between_other_sources(target):
    """The host that is only a default makes no other server of the one a password was set for."""
    assert target({"host": "prod", "user": "app"}, environ={"DB_PASSWORD": "p"}) == ("app@prod", "p")
    assert target("postgresql://app@prod/d", environ={"DB_PASSWORD": "p"}) == ("app@prod/d", "p")
    stray = {"DATABASE_URL": "postgresql://app:p@prod/d"}
    assert target(environ=stray) == ("app@prod/d", "p")  # read, for a default is no description of a server


def test_a_server_named_in_another_way(load, target):
    settings = load(environ={"DB_HOSTADDR": "10.0.0.1"}, defaults=DEFAULTS)
    assert (settings.host, settings.options["hostaddr"]) == (None, "10.0.0.1")
    settings = load(environ={"DB_HOST": "prod"}, defaults={"hostaddr": "10.0.0.1", "service": "s"})
    assert (settings.host, "hostaddr" in settings.options, "service" in settings.options) == ("prod", False, False)
    assert target(service="shop") == ("service=shop", None)
    settings = load(defaults=DEFAULTS).replace(service="shop")
    assert (settings.target, settings.password, settings.policy.min_size) == ("service=shop", None, 1)
    assert load(environ={"PGSERVICE": "s", "PGHOST": "h"}, defaults=DEFAULTS).host == "localhost"


def test_the_proof_of_who_asks(load, tmp_path):
    for environ in ({"IDENTITY_ENABLED": "True"}, {"DB_CREDENTIAL": "azure"}):
        settings = load(environ=environ, defaults=DEFAULTS)
        assert (settings.credential, settings.password) == ("azure", None)
    (tmp_path / "pw").write_text("p")
    for environ in ({"DB_PASSWORD": "p"}, {"DB_PASSWORD_FILE": "./pw"}):
        settings = load(environ=environ, defaults=DEFAULTS | {"credential": "gcp", "credential_scope": "s"})
        assert (settings.credential, settings.password.reveal()) == (None, "p")
        assert load(environ={"DB_CREDENTIAL": "file", "DB_PASSWORD_FILE": "./pw"}, defaults=DEFAULTS).password is None
    assert load(environ={"DB_CREDENTIAL": "aws"}, defaults={"identity_enabled": True}).credential == "aws"
    assert load("postgresql://h", defaults={"host": "g", "credential": "aws"}).credential is None


def test_what_is_wrong_with_defaults(load, refused):
    [fault] = refused(defaults={"prot": 1})
    assert (fault.key, fault.origin) == ("prot", "default")
    [fault] = refused(defaults={"port": "x"})
    assert (fault.key, fault.value, fault.origin) == ("port", "'x'", "default")
    assert load(defaults={"port": "x"}, port=1).port == 1
    [fault] = refused(defaults={"user": "a", "username": "b"})
    assert fault.key == "username"
    assert load(defaults={"user": "a", "username": "b"}, environ={"DB_USER": "c"}).username == "c"
    assert load("postgresql://h", defaults={"host": "g", "port": 1, "dbname": "a", "database": "b"}).port is None


def test_a_default_hides_no_slip_of_the_finger(refused):
    [fault] = refused(environ={"DB_HOTS": "prod"}, defaults=DEFAULTS)
    assert fault.key == "DB_HOTS"
