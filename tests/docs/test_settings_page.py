"""The tables of settings say what the settings do: where each may stand, its origin, and its default."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from dbkit import DatabaseSettings
from dbkit.core.policy import NAMES, PoolPolicy
from dbkit.settings.keys import KEYS

from .blocks import ROOT

pytest.importorskip("sphinx", reason="Sphinx is in the dependency group 'docs'")

PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
PLACES = dict(re.findall(r"^\| ([^|]+?) \| .* \| `([^`]+)` \|$", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def table() -> ModuleType:
    """The extension that makes the tables."""
    path = ROOT / "docs" / "_extensions" / "settings_table.py"
    spec = importlib.util.spec_from_file_location("settings_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_tables_together_have_every_setting_once(table: ModuleType):
    assert sorted(key for group in table.GROUPS.values() for key in group) == sorted(KEYS)


def test_a_variable_of_a_table_is_read_and_gives_its_setting(table: ModuleType):
    for row in table.rows(NAMES):
        good = "7" if row.takes.startswith("whole") else "2.5"
        for variable in row.variables:
            settings = DatabaseSettings.load({"host": "h"}, environ={variable: good}, env_file=None)
            assert getattr(settings.policy, row.key) == float(good)
            assert variable in settings.origin(row.key)


def test_a_default_of_a_table_is_in_force(table: ModuleType):
    for row in table.rows(NAMES):
        value = getattr(PoolPolicy(), row.key)
        assert row.default == "none" if value is None else float(row.default) == value
        assert table.meaning(row.key), row.key


def test_the_connections_defaults_are_those_in_force(table: ModuleType):
    settings = DatabaseSettings.load({"host": "db.example"}, environ={}, env_file=None)
    told = {row.key: row.default for row in table.rows() if row.key not in NAMES}
    assert told["network_timeout"] == str(settings.network_timeout) == "30"
    for key, value in settings.options.items():
        assert told[key] == str(value)
    assert told["host"] == told["sslmode"] == "libpq's"
    assert told["allow_insecure_token"] == "false"


def test_each_place_gives_the_origin_that_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("DB_MAX_SIZE=20\n")
    Path("app.ini").write_text("[postgresql]\nhost = h\nmax_size = 20\n")
    nothing = {"environ": {}, "env_file": None}
    url = "postgresql://app@db.example/shop?max_size=20"
    load = DatabaseSettings.load
    found = {
        "an argument": load({"host": "h"}, max_size=20, **nothing),
        "a URL in code": load(url, **nothing),
        "a mapping in code": load({"host": "h", "max_size": 20}, **nothing),
        "the environment": load(environ={"DB_HOST": "h", "DB_MAX_SIZE": "20"}, env_file=None),
        "a URL there": load(environ={"DATABASE_URL": url}, env_file=None),
        "the file `.env`": load({"host": "h"}, environ={}),
        "a section of an INI file": DatabaseSettings.from_ini("app.ini", **nothing),
        "the program's or dbkit's default": load({"host": "h"}, defaults={"max_size": 20}, **nothing),
    }
    assert {place: settings.origin("max_size") for place, settings in found.items()} == {
        place: origin for place, origin in PLACES.items() if place in found
    }
    assert set(PLACES) - set(found) == {"left to libpq"}
    assert load(**nothing).origin("host") == PLACES["left to libpq"]
