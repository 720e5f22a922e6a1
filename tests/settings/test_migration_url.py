"""``DB_MIGRATION_URL``: a setting like the others, with its origin, never shown, and of one server only."""

from __future__ import annotations

import pytest

from dbkit import SettingsError

HERE = {"DB_HOST": "bouncer", "DB_NAME": "app", "DB_USER": "u", "DB_PASSWORD": "pw", "DB_SSLMODE": "verify-full"}
THERE = "postgresql://m:canary7@db1:5432/app"


def test_migrations_go_to_the_server_that_it_names_with_its_login(load):
    settings = load(environ=HERE | {"DB_MIGRATION_URL": THERE})
    direct = settings.for_migrations()
    assert (settings.host, settings.username) == ("bouncer", "u")
    assert (direct.host, direct.port, direct.database, direct.username) == ("db1", 5432, "app", "m")
    assert direct.password.reveal() == "canary7"
    assert direct.origin("host") == settings.origin("migration_url") == "environment variable DB_MIGRATION_URL"
    assert direct.options["sslmode"] == "verify-full"  # what the URL leaves out, and is no address or login
    assert (direct.policy.min_size, direct.policy.max_size) == (0, 1)
    assert direct.for_migrations() is None


def test_no_password_goes_to_another_server(load):
    direct = load(environ=HERE | {"DB_MIGRATION_URL": "postgresql://u@db1/app"}).for_migrations()
    assert direct.password is None


def test_the_same_host_and_user_keep_their_password(load):
    direct = load(environ=HERE | {"DB_MIGRATION_URL": "postgresql://u@bouncer:5433/app"}).for_migrations()
    assert (direct.password.reveal(), direct.port) == ("pw", 5433)


def test_it_stands_beside_a_url_of_the_same_source(load):
    settings = load(environ={"DATABASE_URL": "postgresql://u:p@bouncer/app", "DB_MIGRATION_URL": THERE})
    assert settings.for_migrations().host == "db1"


@pytest.mark.parametrize("given", ("postgresql://u:p@test/test", {"host": "test", "database": "test"}))
def test_a_server_named_in_code_is_migrated_itself(load, given):
    """Else a test's database would be asked for, and production be migrated."""
    assert load(given, environ={"DB_MIGRATION_URL": THERE}).for_migrations() is None


def test_it_may_be_given_in_code_too(load):
    assert load("postgresql://u:p@bouncer/app", migration_url=THERE).for_migrations().host == "db1"


def test_it_is_never_shown_nor_given_to_libpq(load):
    settings = load(environ=HERE | {"DB_MIGRATION_URL": THERE})
    for text in (repr(settings), settings.describe(), str(settings.options), str(settings.connect_params())):
        assert "canary7" not in text
    assert "migration_url" not in settings.secrets() | settings.connect_params()
    assert "migration_url" in settings.describe()


@pytest.mark.parametrize(
    ("url", "words"),
    (
        ("canary7", "is not a URL"),
        ("mysql://u:canary7@h/d", "is not a PostgreSQL URL"),
        ("postgresql://u:canary7@h", "names no database"),
        ("postgresql:///canary7", "names no host"),
    ),
)
def test_a_bad_one_is_refused_when_the_settings_are_loaded(load, url, words):
    with pytest.raises(SettingsError, match=words) as raised:
        load(environ=HERE | {"DB_MIGRATION_URL": url})
    assert "DB_MIGRATION_URL" in str(raised.value)
    assert "canary7" not in str(raised.value)
