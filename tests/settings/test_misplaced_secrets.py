"""A URL put where another setting belongs: refused, and its password shown nowhere."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from dbkit import DatabaseConnectionManager, DatabaseSettings, ElasticPool, SettingsError
from dbkit.errors import Fault, may_be_shown
from dbkit.settings.keys import KEYS, VARIABLES

from ..shown import everything_shown

CANARY = "pa55-canary"
MISPLACED = (f"postgresql://user:{CANARY}@host/db", f"user:{CANARY}@host", f"host=h password={CANARY}")
REFUSED = ("host", "hostaddr", "port", "database", "username", "sslmode", "max_size", "timeout", "connect_timeout")


def load(*given, **values):
    return DatabaseSettings.load(*given, environ=values.pop("environ", {}), env_file=None, **values)


@pytest.mark.parametrize("value", MISPLACED)
@pytest.mark.parametrize("key", KEYS)
def test_in_any_setting_from_any_source_it_is_not_shown(key: str, value: str) -> None:
    variable = next((name for name, of in VARIABLES.items() if of == key), None)
    sources = [lambda: load({key: value}), lambda: load(**{key: value})]
    if variable is not None:
        sources.append(lambda: load(environ={variable: value}))
    for source in sources:
        try:
            settings = source()
        except SettingsError as error:
            assert CANARY not in str(error) + repr(error) + repr(error.faults)
        else:
            shown = [repr(settings), settings.describe(), settings.target]
            assert CANARY not in "".join(shown)
            assert key not in REFUSED or "://" not in value


@pytest.mark.parametrize("key", REFUSED)
def test_a_url_is_refused_where_it_would_be_used(key: str) -> None:
    with pytest.raises(SettingsError, match=key) as raised:
        load({key: MISPLACED[0]})
    assert CANARY not in str(raised.value)


def test_as_the_host_of_a_url_it_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match="port") as raised:
        load(f"postgresql:///db?host=user:{CANARY}@host")
    assert CANARY not in str(raised.value)


def test_as_a_name_of_a_database_it_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"database.*looks like a URL") as raised:
        DatabaseConnectionManager({"host": "localhost", "database": MISPLACED[0]})
    assert CANARY not in str(raised.value)
    assert load({"host": "localhost", "username": "user@tenant"}).username == "user@tenant"


def test_the_pools_own_numbers_do_not_show_it_either() -> None:
    with pytest.raises(SettingsError) as raised:
        create_engine("postgresql+psycopg2://localhost/db", poolclass=ElasticPool, max_size=MISPLACED[0])
    assert CANARY not in str(raised.value)
    assert "max_size" in str(raised.value)


def test_what_looks_harmless_is_shown() -> None:
    for value in ("localhost", "/var/run/postgresql", "::1", "user@tenant", 5432, "-c geqo=off", "a:b"):
        assert may_be_shown(value)
        assert str(Fault("key", "is wrong", repr(value))) == f"key={value!r} (argument): is wrong"


def test_an_error_shows_its_facts_as_before() -> None:
    with pytest.raises(SettingsError, match="port='x'"):
        load({"port": "x"})
    assert everything_shown(SettingsError([Fault("host", "no", repr(MISPLACED[1]))])).count(CANARY) == 0
