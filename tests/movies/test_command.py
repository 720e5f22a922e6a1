"""The command as a user runs it: a process of its own, on an embedded server or a configured one, and interrupted."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from dbkit.embedded import EmbeddedPostgres
from dbkit.settings import DatabaseSettings
from examples.movies.arguments import parse
from examples.movies.command import run
from examples.movies.intake import MissingExtraError, take_in

from .conftest import ROOT

DEADLINE = 250.0
SHORT = ("--count", "200", "--seconds", "0.3")

LONG_ENOUGH: dict[str, tuple[str, ...]] = {
    "starting an embedded": ("--count", "200"),
    "Migrations:": ("--count", "200"),
    "Loading": (),
    "16 threads": ("--count", "200"),
}
"""Moments at which Ctrl-C comes, and with what the command is still at it then: its threads go on for 8 seconds."""

Start = Callable[..., "subprocess.Popen[str]"]
Here = Callable[..., tuple[int, str, str]]


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DB_", "PG"))}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **variables}


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command in a process group of its own, as a shell does; whatever is left of it ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def popen(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.movies", *arguments],
            cwd=ROOT,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        running.append(process)
        return process

    yield popen
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run the command in this process, which costs no imports: for what ends before any thread begins."""

    def run_here(*arguments: str, **variables: str) -> tuple[int, str, str]:
        monkeypatch.chdir(ROOT)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run_here


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def settings_of(url: str) -> Mapping[str, str]:
    settings = DatabaseSettings.load(url, environ={}, env_file=None)
    assert settings.password is not None
    return {
        "DB_HOST": str(settings.host),
        "DB_PORT": str(settings.port),
        "DB_USER": str(settings.username),
        "DB_PASSWORD": settings.password.reveal(),
        "DB_NAME": str(settings.database),
    }


def scalar(url: str, query: str) -> Any:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    finally:
        connection.close()


def test_on_an_embedded_server_from_start_to_proof(start: Start) -> None:
    code, out, err = finish(start(*SHORT))
    assert (code, err) == (0, "")
    for told in (
        "No DB_* set: starting an embedded PostgreSQL",
        "Migrations: nothing -> 0002_movie_search",
        "200 of 200 arrived",
        "200 were new",
        "16 threads, three repositories, one pool (2 to 10)",
        "queries per second",
        "median",
        "█",
        "ok    the pool: in_use=0",
        "after close_connections(): 0",
        "ok    the threads: 0 errors",
    ):
        assert told in out
    assert out.replace("\n", "").isprintable()
    port = re.search(r"127\.0\.0\.1:(\d+)", out)
    assert port is not None
    assert not answers(int(port[1]))


def test_a_dirty_file_on_a_configured_server_twice(start: Start, database: str, tmp_path: Path) -> None:
    records = [
        {"Title": 1776, "Release Date": "Nov 09 1972"},
        {"Title": "Gone with the Wind", "Release Date": "Dec 15 2039", "US Gross": "much"},
        {"Title": None},
        {"Title": "CachÈ", "IMDB Rating": 11},
    ]
    movies, report = tmp_path / "movies.json", tmp_path / "report.csv"
    movies.write_text(json.dumps(records))
    arguments = ("--movies", str(movies), "--as-of", "2010", "--report", str(report), "--seconds", "0.5")
    variables = settings_of(database)
    code, out, err = finish(start(*arguments, **variables, PYTHONIOENCODING="ascii"))
    assert (code, err) == (0, "")
    assert f"Using the configured PostgreSQL: {variables['DB_USER']}@{variables['DB_HOST']}" in out
    assert "embedded" not in out
    assert variables["DB_PASSWORD"] not in out
    assert "3 of 4 arrived" in out
    assert "record 2: Title None: no title" in out
    assert "now the text '1776'" in out
    assert "now 1939-12-15" in out
    assert "'Cach?': IMDB Rating 11" in out
    assert out.isascii()
    with report.open(encoding="utf-8", newline="") as file:
        notes = list(csv.DictReader(file))
    assert {(note["position"], note["field"]) for note in notes} == {
        *(("0", "Title"), ("1", "US Gross"), ("1", "Release Date"), ("2", "Title"), ("3", "IMDB Rating"))
    }
    code, out, err = finish(start(*arguments, **variables))
    assert (code, err) == (0, "")
    assert "Migrations: at 0002_movie_search already" in out
    assert "0 were new" in out
    assert scalar(database, "SELECT count(*) FROM movies") == 3
    assert scalar(database, "SELECT count(*) FROM users") == 100


def test_tables_of_somebody_else_are_left_alone(here: Here, database: str) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE movies (mine text); INSERT INTO movies VALUES ('precious')")
    connection.close()
    code, _, err = here(*SHORT, DATABASE_URL=database)
    assert code == 1
    assert "tables of its own called movies. Nothing was changed" in err
    assert "Traceback" not in err
    assert scalar(database, "SELECT string_agg(mine, ',') FROM movies") == "precious"
    assert scalar(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 1


def test_a_server_that_cannot_be_reached_is_an_error_without_a_traceback(here: Here) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, _, err = here(*SHORT, DB_HOST="127.0.0.1", DB_PORT=str(port), DB_PASSWORD="s3cret")
    assert code == 1
    assert any(line.startswith("error: ") and "Connection refused" in line for line in err.splitlines())
    assert "Traceback" not in err
    assert "s3cret" not in err


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("missing.json", "missing.json: cannot be read: No such file or directory. Nothing was loaded"),
        ("README.md", "README.md: not JSON"),
    ],
)
def test_a_bad_file_ends_with_code_2_and_starts_nothing(here: Here, file: str, told: str) -> None:
    code, out, err = here("--movies", file)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--threads", "0"], "'0' is not a whole number, 1 or more"),
        (["--count", "many"], "'many' is not a whole number, 1 or more"),
        (["--seconds", "nan"], "'nan' is not a number of seconds above 0"),
        (["--as-of", "2010"], "give --movies FILE"),
        (["--movie"], "expected one argument"),
    ],
)
def test_bad_arguments_end_with_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as left:
        parse(arguments)
    assert left.value.code == 2
    assert told in capsys.readouterr().err


def test_numbers_may_have_thousands_commas() -> None:
    assert parse(["--count", "86,537"]).count == 86_537


def test_a_bad_pool_number_is_an_error_that_names_it(here: Here) -> None:
    code, _, err = here(*SHORT, "--min-size", "5", "--max-size", "2", DATABASE_URL="postgresql://localhost/x")
    assert code == 1
    assert "min_size" in err
    assert "Traceback" not in err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(["--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert "python -m examples.movies --movies movies.json" in out
    for option in ("--count", "--as-of", "--report", "--threads", "--seconds", "--min-size", "--max-size"):
        assert option in out


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "examples.movies.generate", raising=False)
    monkeypatch.setitem(sys.modules, "factory", None)
    with pytest.raises(MissingExtraError, match=r"dbkit-postgres\[testing\]"):
        take_in(parse([]))


def test_a_reader_who_leaves_early_ends_it_quietly(start: Start) -> None:
    process = start(*SHORT)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(DEADLINE), err) == (1, "")


@pytest.mark.parametrize("moment", LONG_ENOUGH)
def test_ctrl_c_on_an_embedded_server_ends_clean(start: Start, moment: str) -> None:
    process = start(*LONG_ENOUGH[moment])
    out = interrupt_at(process, moment)
    code, rest, err = finish(process)
    assert (code, err) == (130, "interrupted\n")
    port = re.search(r"127\.0\.0\.1:(\d+)", out + rest)
    assert port is None or not answers(int(port[1]))
    wait_for(lambda: not alive(process.pid))


@pytest.mark.parametrize("moment", ["Loading", "16 threads"])
def test_ctrl_c_on_a_configured_server_gives_every_connection_back(
    start: Start, server: EmbeddedPostgres, database: str, moment: str
) -> None:
    process = start(*LONG_ENOUGH[moment], DATABASE_URL=database)
    interrupt_at(process, moment)
    code, _, err = finish(process)
    assert (code, err) == (130, "interrupted\n")
    ours = f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dbkit-movies-{process.pid}%%'"
    wait_for(lambda: server.execute(ours) == [(0,)])


def interrupt_at(process: subprocess.Popen[str], moment: str) -> str:
    """Press Ctrl-C, for the whole group as a terminal does, when a line tells of the moment; return what was told."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if moment in line:
            os.killpg(process.pid, signal.SIGINT)
            return "".join(lines)
    raise AssertionError(f"it ended before {moment!r}: {''.join(lines)}")


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
