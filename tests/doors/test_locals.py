"""A password in the wrong place stands in the locals of no frame of dbkit's."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from dbkit import DatabaseConnectionManager, DatabaseSettings, ElasticPool
from dbkit.engine import build_engine

CANARY = "pa55-canary"
ROOT = str(Path(__file__).parents[2] / "dbkit")


def ini(folder: Path) -> Path:
    path = folder / "app.ini"
    path.write_text("[postgresql]\nhost = localhost\n")
    return path


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
    "pool": lambda _: ElasticPool(partial(psycopg2.connect, password=CANARY), max_size=-1),
}


def frames_of_dbkit(error: BaseException) -> str:
    """The locals of dbkit's frames, of the error and all it is chained to."""
    shown, todo, seen = [], [error], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        shown += [str(one), repr(one), repr(one.__dict__)]
        recorded = traceback.TracebackException.from_exception(one, capture_locals=True)
        shown += [repr(frame.locals) for frame in recorded.stack if frame.filename.startswith(ROOT)]
        todo += [link for link in (one.__cause__, one.__context__) if link is not None]
    return "\n".join(shown)


@pytest.mark.parametrize("call", CALLS)
def test_no_frame_of_dbkits_holds_it(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError, Exception)) as caught:
        CALLS[call](tmp_path)
    assert CANARY not in frames_of_dbkit(caught.value)


def test_the_detector_detects(tmp_path: Path) -> None:
    settings = DatabaseSettings.load("postgresql://u@localhost/d", environ={}, env_file=None)
    with pytest.raises(Exception) as caught:  # build_engine alone does not hide what it was given
        build_engine(settings, engine_options={"connect_args": {"password": CANARY}})
    assert CANARY in frames_of_dbkit(caught.value)
