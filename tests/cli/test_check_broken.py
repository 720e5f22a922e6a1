"""``dbkit check`` against real servers, most of them broken."""

from __future__ import annotations

import datetime
import shutil
import socket
import tempfile
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import psycopg2
import pytest

from dbkit import DatabaseConnectionManager
from dbkit.embedded import EmbeddedPostgres

from ..bouncer import through_pgbouncer
from ..credentials.cloud import cloud
from ..migrate.conftest import scripts, write_revision  # noqa: F401 - a fixture
from ..pool.test_failover import free_port, standby_of

SECRET = "c4nary-of-a-password"


@pytest.fixture
def checked(run):
    """Run ``dbkit check --json``; no secret may show."""

    def check(*arguments, seconds=5):
        ran = run("check", "--json", "--seconds", seconds, *arguments)
        assert SECRET not in ran.out + ran.err
        return ran

    return check


@pytest.fixture
def role(admin, shared_database):
    """An ordinary role and the URL it logs in with."""
    admin.rows(f"CREATE ROLE checked LOGIN PASSWORD '{SECRET}'")
    url = urlsplit(shared_database)
    yield f"postgresql://checked:{SECRET}@{url.hostname}:{url.port}{url.path}"
    admin.rows("DROP ROLE checked")


def test_a_server_in_order(checked, role):
    ran = checked(role)
    assert ran.code == 0, ran.out
    marks = {each["check"]: each["mark"] for each in ran.report["findings"]}
    assert {name for name, mark in marks.items() if mark == "ok"} >= {
        "settings", "name", "port", "tls", "login", "version", "role", "state", "pooler", "capacity", "clock",
        "round trip",
    }  # fmt: skip
    assert ran.report["round_trip"]["count"] > 10
    assert {"name": "password", "value": "***", "origin": "URL"} in ran.report["settings"]


def test_wrong_port(checked):
    ran = checked(f"postgresql://app:{SECRET}@127.0.0.1:{free_port()}/shop")
    assert (ran.code, ran.marks("port"), ran.marks("login")) == (1, ["problem"], ["problem"])
    assert "Nobody listens" in ran.says("port")


def test_unknown_host(checked):
    ran = checked(f"postgresql://app:{SECRET}@no-such-host.invalid/shop")
    assert (ran.code, ran.marks("name"), ran.marks("port")) == (1, ["problem"], [])
    assert "no-such-host.invalid has no address" in ran.says("name")


def test_wrong_password(checked, role):
    ran = checked(role.replace(SECRET, f"{SECRET}-not"))
    assert (ran.code, ran.marks("port"), ran.marks("login")) == (1, ["ok"], ["problem"])
    assert "password authentication failed" in ran.says("login")


def test_no_such_database(checked, role):
    ran = checked(role.rsplit("/", 1)[0] + "/nowhere")
    assert ran.code == 1
    assert 'database "nowhere" does not exist -> Create the database' in ran.says("login")


def test_no_tls_where_it_is_required(checked, role):
    ran = checked(f"{role}?sslmode=require")
    assert (ran.code, ran.marks("tls")) == (1, ["problem"])
    assert "does not support SSL" in ran.says("login")


def test_an_expired_certificate(checked, tmp_path):
    with cloud(tmp_path, refusal="no", good_for=-datetime.timedelta(hours=1)) as (server, ca):
        ran = checked(f"postgresql://app:{SECRET}@localhost:{server.port}/shop?sslmode=verify-full&sslrootcert={ca}")
        assert server.seen == []
    assert (ran.code, ran.marks("certificate")) == (1, ["problem"])
    assert "ended on" in ran.says("certificate")
    assert "The server's certificate ended on" in ran.says("login")


def test_a_certificate_of_an_unknown_ca(checked, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    with cloud(tmp_path, refusal="no") as (server, _), cloud(stranger, refusal="no") as (_, other):
        ran = checked(f"postgresql://app:{SECRET}@localhost:{server.port}/shop?sslmode=verify-full&sslrootcert={other}")
    assert (ran.code, ran.marks("login")) == (1, ["problem"])
    assert "sslrootcert" in ran.says("login")


def test_a_standby(checked, memory_folder):
    folder = Path(tempfile.mkdtemp(dir=memory_folder))
    folder.chmod(0o711)
    settings = {"wal_level": "replica", "max_wal_senders": 4, "hot_standby": True}
    try:
        with (
            EmbeddedPostgres.start(folder / "a", durable=False, settings=settings) as first,
            standby_of(first, folder / "b", free_port()) as second,
        ):
            ran = checked(second.url)
            both = checked(f"{second.url}?target_session_attrs=prefer-standby")
    finally:
        shutil.rmtree(folder)
    assert (ran.code, ran.marks("state"), both.marks("state")) == (1, ["problem"], ["ok"])
    assert "25006" in ran.says("state")


def test_a_database_that_is_read_only(checked, role, admin):
    admin.rows("ALTER ROLE checked SET default_transaction_read_only = on")
    ran = checked(role)
    assert (ran.code, ran.marks("state")) == (1, ["problem"])


def test_too_many_connections(checked, role, admin):
    admin.rows("ALTER ROLE checked CONNECTION LIMIT 1")
    holder = psycopg2.connect(role)
    try:
        ran = checked(role)
    finally:
        holder.close()
    assert ran.code == 1
    assert "53300" in ran.says("login")
    ran = checked(role)
    assert (ran.code, ran.marks("capacity")) == (1, ["problem"])
    assert "CONNECTION LIMIT 1" in ran.says("capacity")


def test_too_large_a_fleet(checked, role):
    ran = checked(role, "--processes", 8, "--hosts", 40)
    assert (ran.code, ran.marks("capacity")) == (1, ["problem"])
    assert "40 hosts x 8 processes = 3200 connections" in ran.says("capacity")


def test_half_migrated(checked, database, scripts):  # noqa: F811
    with DatabaseConnectionManager(database, min_size=0) as db:
        db.migrate(script_location=scripts)
    write_revision(scripts, "two", "one", "pass")
    ini = scripts.parent / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = %(here)s/100%% scripts\npath_separator = os\n")
    ran = checked(database)
    assert (ran.code, ran.marks("migrations")) == (1, ["problem"])
    assert "1 of 2 revisions; pending: two" in ran.says("migrations")
    with DatabaseConnectionManager(database, min_size=0) as db:
        db.migrate(script_location=scripts)
    assert checked(database).marks("migrations") == ["ok"]


def test_an_env_py_that_would_migrate_another_database(checked, database, shared_database, tmp_path):
    (tmp_path / "stock").mkdir()
    (tmp_path / "stock" / "env.py").write_text(
        "from alembic import context\nfrom sqlalchemy import NullPool, create_engine\nprint('hello')\n"
        f"with create_engine({shared_database!r}, poolclass=NullPool).connect() as connection:\n"
        "    context.configure(connection=connection)\n    context.run_migrations()\n"
    )
    (tmp_path / "stock.ini").write_text("[alembic]\nscript_location = %(here)s/stock\npath_separator = os\n")
    ran = checked(database, "--config", tmp_path / "stock.ini")
    assert (ran.code, ran.marks("migrations")) == (1, ["problem"])
    assert "would migrate" in ran.says("migrations")
    assert checked(database, "--config", tmp_path / "none.ini").marks("migrations") == ["problem"]


def test_a_black_hole_is_bounded_in_time(checked):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        began = monotonic()
        ran = checked(f"postgresql://app:{SECRET}@127.0.0.1:{hole.getsockname()[1]}/shop", seconds=0.3)
        assert monotonic() - began < 20
    assert (ran.code, ran.marks("port"), ran.marks("login")) == (1, ["note"], ["problem"])
    assert "may be no PostgreSQL at all" in ran.says("login")


@pytest.mark.parametrize("mode", ["transaction", "session", "statement"])
def test_pgbouncer(checked, shared_database, mode):
    with through_pgbouncer(shared_database, mode=mode) as url:
        ran = checked(url)
    if mode == "statement":
        assert ran.code == 1
        assert "pool_mode=statement" in ran.says("login")
    else:
        assert ran.marks("pooler") == ["note"]
        assert f"mode {mode}" in ran.says("pooler")


def test_settings_that_are_no_good(checked, run, monkeypatch):
    ran = checked(f"postgresql://app:{SECRET}@localhost:abc/shop")
    assert (ran.code, ran.marks("settings")) == (1, ["problem"])
    assert "port" in ran.says("settings")
    monkeypatch.setenv("DB_POOL_SIZE", "30")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@127.0.0.1:1/shop")
    assert "DB_MAX_SIZE" in checked().says("settings")
    assert checked("a-name-only").code == 1
    assert run("check", "--ini", "none.ini").code == 1


def test_a_wrong_command_is_one_message(run):
    for arguments in (("check", "--seconds", "soon"), ("check", "--nothing"), ("chek",), ("check", "x", "--ini", "y")):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("Usage: dbkit")


def test_psycopg_3_does_as_well(checked, run, role):
    url = role.replace("postgresql://", "postgresql+psycopg://")
    ran = checked(url)
    assert (ran.code, ran.marks("login"), ran.marks("pooler")) == (0, ["ok"], ["ok"]), ran.out
    assert checked(url.replace(SECRET, "wrong")).says("login").count("user and password") == 1
    assert "of 197" in run("top", "--once", url).out
    assert run("bench", url, "--seconds", 1, "--max-size", 1).code == 0
