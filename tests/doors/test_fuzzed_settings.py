"""Whatever is given as a setting: settings come of it, or a ``SettingsError`` that shows no secret."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbkit import DatabaseSettings, SettingsError
from dbkit.engine import build_engine
from dbkit.settings.keys import KEYS, VARIABLES

from ..shown import everything_shown

CANARY = "pa55-canary"

PIECES = (
    "postgresql:// postgres:// postgresql+psycopg:// @ : / ? & = % %zz %00 [ ] ::1 host a,b 5432 -1 1e400 nan none '' "
    "\\ sslmode=verify-full application_name= é ${X} $ #"
)
pieces = st.sampled_from([*PIECES.split(), "\0", "\ud800", " ", "\n"])
words = st.lists(pieces | st.text(max_size=4), max_size=8).map("".join)
values = st.one_of(
    words,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=4),
    st.lists(words, max_size=2),
    st.builds(object),
)
keys = st.sampled_from(sorted(KEYS)) | words


def fine(*given_: Any, **more: Any) -> None:
    try:
        found = DatabaseSettings.load(*given_, **{"environ": {}, "env_file": None} | more)
    except SettingsError as error:
        assert error.faults
        assert CANARY not in str(error) + repr(error) + repr(error.faults)
        return
    shown = repr(found) + found.describe() + found.target
    assert CANARY not in shown


@settings(max_examples=300)
@given(words)
@example("postgresql://u:pa55@[::1/d")
@example("postgresql://u:p@h:99999999999999999999/d")
def test_urls(url: str) -> None:
    fine(url)


@settings(max_examples=200)
@given(st.dictionaries(keys, values, max_size=4))
def test_mappings(mapping: dict[str, Any]) -> None:
    fine(mapping | {"password": CANARY})


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(sorted({*VARIABLES, "DATABASE_URL", "DB_FOO", "DB_HOSTS"})), words, max_size=4))
def test_environments(environ: dict[str, str]) -> None:
    fine(environ=environ | {"DB_PASSWORD": CANARY})


@settings(max_examples=200)
@given(words, words, words)
@example("postgresql://postgresql://", "?sslmode=verify-full", "")
@example("postgresql://", "?application_name=", "")
@example("/", "?application_name=", "")
def test_a_password_in_a_url_of_any_shape(before: str, between: str, after: str) -> None:
    """Only what stands where a password stands is one: ``user:...@``."""
    url = f"postgresql://user{before}:{CANARY}{between}@host{after}"
    try:
        found = DatabaseSettings.load(url, environ={}, env_file=None)
    except SettingsError as error:
        assert CANARY not in str(error) + repr(error.faults)
    else:
        assert CANARY not in repr(found) + found.describe() + found.target


def test_what_is_accepted_makes_an_engine() -> None:
    found = DatabaseSettings.load({"host": "h", "password": CANARY}, environ={}, env_file=None)
    engine = build_engine(found)
    assert CANARY not in repr(engine) + str(engine.url)
    assert CANARY not in everything_shown(SettingsError([]))
