"""A password in the wrong place stands in the locals of no frame of dbkit's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg2
import pytest

from dbkit import DatabaseConnectionManager, DatabaseSettings, ElasticPool, engine
from dbkit.engine import build_engine, migration_engine

from ..shown import shown_by_dbkit

CANARY = "pa55-canary"


def ini(folder: Path) -> Path:
    path = folder / "app.ini"
    path.write_text("[postgresql]\nhost = localhost\n")
    return path


def bare(**given: Any) -> DatabaseSettings:
    return DatabaseSettings.load("postgresql://u@localhost/d", environ={}, env_file=None, **given)


def in_a_migration(**given: Any) -> None:
    with migration_engine(build_engine(bare()), bare(**given), engine_options={"connect_args": {"password": CANARY}}):
        raise RuntimeError("in the block")


CALLS: dict[str, Callable[[Path], object]] = {
    "credential": lambda _: DatabaseConnectionManager("postgresql://u@localhost/d", credential=CANARY),
    "credential class": lambda _: DatabaseConnectionManager(
        {"host": "localhost", "password": CANARY}, credential=DatabaseSettings
    ),
    "connect_args": lambda _: DatabaseConnectionManager(
        "postgresql://u@localhost/d", engine_options={"connect_args": {"password": CANARY}}
    ),
    "engine option": lambda _: DatabaseConnectionManager(
        "postgresql://u@localhost/d", engine_options={"no_such": 1, "connect_args": {"sslcert": CANARY}}
    ),
    "creator": lambda _: DatabaseConnectionManager(
        "postgresql://u@localhost/d", engine_options={"creator": partial(psycopg2.connect, password=CANARY)}
    ),
    "keyword": lambda _: DatabaseConnectionManager("postgresql://u@localhost/d", pasword=CANARY),
    "url": lambda _: DatabaseConnectionManager(f"postgresql://u:{CANARY}@localhost:x/d"),
    "mapping": lambda _: DatabaseConnectionManager({"host": "localhost", "password": CANARY, "port": "x"}),
    "number and password": lambda _: DatabaseConnectionManager(f"postgresql://u:{CANARY}@localhost/d", max_size=-1),
    "ini credential": lambda folder: DatabaseConnectionManager.from_ini(ini(folder), credential=CANARY),
    "ini options": lambda folder: DatabaseConnectionManager.from_ini(
        ini(folder), engine_options={"connect_args": {"password": CANARY}}
    ),
    "ini keyword": lambda folder: DatabaseConnectionManager.from_ini(ini(folder), pasword=CANARY),
    "ini missing": lambda folder: DatabaseConnectionManager.from_ini(folder / "none.ini", credential=CANARY),
    "load": lambda _: DatabaseSettings.load({"host": "localhost", "password": CANARY}, port="x"),
    "replace": lambda _: DatabaseSettings.load("postgresql://u@h/d").replace(password=CANARY, port="x"),
    "engine connect_args": lambda _: build_engine(bare(), engine_options={"connect_args": {"password": CANARY}}),
    "engine credential": lambda _: build_engine(bare(), credential=cast("Any", CANARY)),
    "engine unknown option": lambda _: build_engine(
        bare(), engine_options={"no_such": 1, "connect_args": {"sslcert": CANARY}}
    ),
    "migration": lambda _: in_a_migration(),
    "migration elsewhere": lambda _: in_a_migration(migration_url="postgresql://u@localhost:1/d"),
    "pool": lambda _: ElasticPool(partial(psycopg2.connect, password=CANARY), max_size=-1),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_frame_of_dbkits_holds_it(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError, Exception)) as caught:
        CALLS[call](tmp_path)
    assert CANARY not in shown_by_dbkit(caught.value)


def test_the_detector_detects() -> None:
    with pytest.raises(Exception) as caught:  # what build_engine hides
        engine._build(bare(), None, {"connect_args": {"password": CANARY}}, on_loop=False)
    assert CANARY in shown_by_dbkit(caught.value)
