"""What ``docs/migrating.md`` shows runs as it stands there, but for the server's address."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dbkit.dropin

from ..docs.blocks import blocks_of
from .common import address_of
from .documents import changed

GUIDE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE))
STEPS = {
    name: one.code
    for one in blocks_of("docs/migrating.md")
    if one.language == "python"
    for name, text in SECTIONS.items()
    if one.code in text
}


def test_every_class_has_its_section():
    assert {name for name in dbkit.dropin.__all__ if not name.endswith("Error")} <= SECTIONS.keys()
    for name in SECTIONS:
        assert re.search(rf"^\+from dbkit(\.dropin)? import {name}$", GUIDE, re.MULTILINE) or name == "What"
    for error in (name for name in dbkit.dropin.__all__ if name.endswith("Error") and name != "DropinError"):
        assert f"`{error}`" in GUIDE


@pytest.mark.parametrize("name", STEPS)
def test_the_step_to_the_manager(users_database: str, environment: Callable[..., str], name: str):
    address = address_of(users_database)
    environment(address)
    code = STEPS[name]
    if name == "ConnectionPool":
        code = changed(code, a=f"postgresql://user:pass@localhost/test_db -> {users_database}")
    if name == "DatabasePool":
        old = '{"host": "localhost", "port": 5432, "dbname": "test_db", "user": "user", "password": "pass"}'
        code = changed(code, a=f"{old} -> {address!r}")
    names: dict[str, Any] = {}
    exec(code, names)
    if name == "DatabasePool":
        assert [row["name"] for row in names["users"]] == ["Ada", "Grace"]
    if name == "DatabaseConnectionPool":
        assert [row.name for row in names["rows"]] == ["Ada", "Grace"]
    assert names["db"].pool.stats().size == 0
