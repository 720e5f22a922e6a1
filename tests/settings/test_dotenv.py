"""``.env``: what its quotes mean, and what ``${NAME}`` may refer to."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def dotenv(tmp_path):
    """Write the ``.env`` file of a test."""
    return lambda text: Path(tmp_path / ".env").write_text(text)


def password(settings):
    return settings.password.reveal()


@pytest.mark.parametrize("line", [
    "DB_PASSWORD='p${HOME}w'", "export DB_PASSWORD = 'p${HOME}w' # a comment", "'DB_PASSWORD'='p${HOME}w'",
    "\n\n  DB_PASSWORD=  'p${HOME}w'\n",
])  # fmt: skip
def test_single_quotes_are_literal(load, dotenv, line):
    dotenv(line)
    assert password(load(environ={"HOME": "/root"})) == "p${HOME}w"


@pytest.mark.parametrize("value", ["p${HOME}w", '"p${HOME}w"', "p${NONE:-/root}w"])
def test_a_variable_is_replaced_outside_of_them(load, dotenv, value):
    dotenv(f"DB_HOST=h\nDB_NAME={value}")
    assert load(environ={"HOME": "/root"}).database == "p/rootw"


def test_only_the_given_environment_is_asked(load, refused, dotenv, monkeypatch):
    monkeypatch.setenv("DBKIT_TEST_CANARY", "of the process")
    dotenv("DB_PASSWORD=${DBKIT_TEST_CANARY}")
    assert password(load(environ={"DBKIT_TEST_CANARY": "given"})) == "given"
    [fault] = refused(environ={"OTHER": "x"})
    assert fault.key == "password"


@pytest.mark.parametrize("value", ["p${NOBODY}w", '"p${NOBODY}w"', "${NOBODY}"])
@pytest.mark.parametrize("variable, key", [
    ("DB_PASSWORD", "password"), ("DB_HOST", "host"), ("DB_PORT", "port"), ("DB_MAX_CONN", "max_size"),
    ("DB_CREDENTIAL", "credential"), ("DB_PASSWORD_FILE", "password"), ("IDENTITY_ENABLED", "identity_enabled"),
    ("DATABASE_URL", "url"),
])  # fmt: skip
def test_an_unknown_variable_is_named(refused, dotenv, value, variable, key):
    dotenv(f"{variable}={value}")
    [fault] = refused()
    assert (fault.key, fault.value, fault.origin) == (key, "", f"the file .env, {variable}")
    assert "${NOBODY}, which is not set" in fault.reason


def test_an_unknown_variable_is_harmless_where_its_value_is_not_used(load, dotenv):
    dotenv("DB_PASSWORD=${NOBODY}\nFOREIGN=${NOBODY}\nDATABASE_URL=${NOBODY}")
    assert password(load({"host": "h"}, environ={"DB_PASSWORD": "p"})) == "p"


def test_a_variable_may_refer_to_those_above_it(load, refused, dotenv):
    dotenv("DB_USER=u\nDATABASE_URL=postgresql://${DB_USER}:p@h/d\n")
    assert load().target == "u@h/d"
    assert load(environ={"DB_USER": "v"}, url_variable=None).username == "v"
    dotenv("DB_NAME=${LATER}\nLATER=x")
    assert refused()[0].key == "database"
    dotenv("INNER=${NOBODY}\nDB_NAME=${INNER}")
    assert "${NOBODY}" in refused()[0].reason


def test_the_last_of_two_entries_counts(load, dotenv):
    dotenv("DB_HOST=one\nDB_HOST=two\nDB_PORT=1\nDB_PORT=")
    assert (load().host, load().port) == ("two", None)


def test_a_line_that_cannot_be_read_is_not_passed_over(load, refused, dotenv):
    dotenv("DB_HOST=h\n\nDB_PASSWORD='unclosed\nDB_NAME=d\n")
    [fault] = refused()
    assert (fault.key, fault.value, fault.origin) == ("DB_PASSWORD", "", "the file .env, line 3")
    assert "unclosed" not in fault.reason
    dotenv("DB_HOST=h\nsource 'other file\n")
    assert load().remarks == ("the file .env, line 2 cannot be read, and is ignored",)
