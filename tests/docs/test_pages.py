"""Every block of code in README and docs/ runs as it stands there, but for the server's address."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from dbkit import DatabaseConnectionManager

from .blocks import ROOT, blocks_of, page_run, pages

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette wants another HTTP client
    from fastapi.testclient import TestClient

ELSEWHERE = {
    "README.md": "tests/docs/test_readme.py",
    "docs/migrating.md": "tests/dropin/test_migrating.py",
}
"""Pages whose blocks are no one program, and the tests that run each of them."""

PREPARED = {
    "docs/howto/alembic.md": (),
    "docs/tutorial.md": (),
}
"""What is in a page's database before it; ``USERS`` where the page is not named."""

WITH_A_MANAGER = {"docs/metrics.md"}
"""Pages of fragments: they begin where a program has a ``db``."""

USERS = (
    "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL, active boolean NOT NULL DEFAULT true)",
    "INSERT INTO users (name) VALUES ('Ada'), ('Grace')",
)


def _application_migrates_and_is_ready(names: dict[str, Any]) -> None:
    with TestClient(names["app"]) as client:
        assert client.get("/readyz").status_code == 200
    with DatabaseConnectionManager() as db:
        assert db.execute_query("SELECT to_regclass('ix_users_name')").scalar() == "ix_users_name"


def _numbers_are_scraped(_: dict[str, Any]) -> None:
    from prometheus_client import REGISTRY, generate_latest

    from dbkit.metrics.prometheus import PoolCollector

    assert b"db_client_connection_max" in generate_latest()
    for collector in list(REGISTRY._collector_to_names):
        if isinstance(collector, PoolCollector):
            REGISTRY.unregister(collector)


AFTER = {
    "docs/howto/deploy.md": _application_migrates_and_is_ready,
    "docs/metrics.md": _numbers_are_scraped,
}
"""What a page's program is for, where that comes after its last line."""


@pytest.fixture
def program_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty working folder whose modules are gone from the process after the test, and logging as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    loggers = [log for log in logging.root.manager.loggerDict.values() if isinstance(log, logging.Logger)]
    before = [(log, log.level, log.disabled, log.handlers[:]) for log in (logging.root, *loggers)]
    yield tmp_path
    for log, level, disabled, handlers in before:  # alembic.ini sets up logging
        log.setLevel(level)
        log.disabled = disabled
        log.handlers[:] = handlers
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in pages() if page not in ELSEWHERE])
def test_a_page_runs_as_one_program(page: str, database: str, program_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", database)
    with DatabaseConnectionManager(database) as prepared:
        for statement in PREPARED.get(page, USERS):
            prepared.execute_query(statement)
    given = {"db": DatabaseConnectionManager(database)} if page in WITH_A_MANAGER else {}
    with page_run(page, database, program_folder, given) as names:
        AFTER.get(page, lambda _: None)(names)


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_the_other_pages_have_tests_of_their_own(page: str, test: str):
    assert page in pages()
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


def test_a_block_that_is_not_run_says_why_in_one_way():
    for page in pages():
        for one in blocks_of(page):
            says_so = re.search(r"not (run|tested|executed)", one.code)
            assert bool(says_so) == one.is_marked, f"{page}:{one.line}"
            if one.is_marked:
                assert one.language == "python", f"{page}:{one.line}"


def test_every_fence_names_its_language():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        fences = re.findall(r"^```(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) % 2 == 0, path
        for language in fences[::2]:
            assert language or path.name in ("architecture.md",), f"{path}: a fence without a language is not run"
