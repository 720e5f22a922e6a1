"""``alembic`` on the command line goes the same way, and asks the environment where to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from sqlalchemy import text

from dbkit.migrate.lock import migration_lock

from .conftest import INI, ROOT, write_revision

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


def start(*arguments: str, url: str | None = None, cwd=ROOT) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DB_", "PG", "DATABASE_URL"))}
    if url is not None:
        environment["DATABASE_URL"] = url
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def alembic(*arguments: str, url: str | None = None, cwd=ROOT) -> tuple[int, str, str]:
    with start(*arguments, url=url, cwd=cwd) as process:
        out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def test_up_check_down(db, database):
    code, _, err = alembic("upgrade", "head", url=database)
    assert (code, err.count("Running upgrade")) == (0, 2)
    assert alembic("current", url=database)[1].strip().endswith("(head)")
    code, out, _ = alembic("check", url=database)
    assert (code, out.strip()) == (0, "No new upgrade operations detected.")
    db.migrate(config=INI)  # the program finds what the command line did
    code, _, err = alembic("downgrade", "base", url=database)
    assert (code, err.count("Running downgrade")) == (0, 2)
    assert db.execute_query(LOCKS).scalar() == 0


def test_offline_needs_no_server():
    code, out, _ = alembic("upgrade", "head", "--sql", url="postgresql://nobody@no-such-host.invalid/none")
    assert code == 0
    assert "CREATE TABLE movies" in out
    assert out.rstrip().endswith("COMMIT;")


def test_autogenerate_writes_what_is_missing(db, database, tmp_path):
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name in ("env.py", "script.py.mako"):
        (folder / name).write_bytes((ROOT / "migrations" / name).read_bytes())
    (folder / "versions").mkdir()
    ini = tmp_path / "alembic.ini"
    ini.write_text(
        f"[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = {ROOT}\npath_separator = os\n"
    )
    code, _, err = alembic("-c", str(ini), "revision", "--autogenerate", "-m", "all of it", url=database)
    assert code == 0, err
    (written,) = (folder / "versions").glob("*.py")
    code = written.read_text()
    for name in ("pk_movies", "uq_movies_import_key", "fk_orders_user_id_users"):
        assert name in code
    db.migrate(config=ini)
    assert alembic("-c", str(ini), "check", url=database)[0] == 0


def test_complaints_are_one_line(db, database):
    for arguments, url, words in (
        (("-x", "timeout=abc", "upgrade", "head"), database, "-x timeout=abc: must be a number of seconds"),
        (("upgrade", "nowhere"), database, "nowhere"),
        (("upgrade", "head"), "postgresql://localhost:abc/x", "port"),
    ):
        code, out, err = alembic(*arguments, url=url)
        assert code != 0
        assert words in out + err
        assert "Traceback" not in err


def test_three_processes_at_once(db, database):
    """All succeed; each revision runs once."""
    processes = [start("upgrade", "head", url=database) for _ in range(3)]
    said = ""
    for process in processes:
        with process:
            _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        said += err
    assert said.count("Running upgrade") == 2
    assert db.execute_query("SELECT count(*) FROM alembic_version").scalar() == 1


def test_it_waits_up_to_its_deadline(db, database):
    with db.engine.connect() as connection, migration_lock(connection, "alembic_version", timeout=0):
        code, out, err = alembic("-x", "timeout=3", "upgrade", "head", url=database)
        assert code != 0
        assert "Another process is migrating this database: pid" in out + err
        assert "waiting for another migration (pid" in err
        assert "Traceback" not in err


def test_ctrl_c_while_waiting(db, database):
    with db.engine.connect() as connection, migration_lock(connection, "alembic_version", timeout=0):
        with start("upgrade", "head", url=database) as process:
            for line in process.stderr:
                if "waiting for another migration" in line:
                    process.send_signal(signal.SIGINT)
                    break
            process.communicate(timeout=240)
        assert process.returncode != 0
        others = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        deadline = time.monotonic() + 20
        while connection.scalar(others):
            connection.rollback()
            assert time.monotonic() < deadline
        connection.rollback()
    assert db.execute_query(LOCKS).scalar() == 0


def test_lock_timeout_of_the_command_line(db, database, scripts, tmp_path):
    write_revision(
        scripts, "two", "one", "print('lock_timeout is', op.get_bind().exec_driver_sql('SHOW lock_timeout').scalar())"
    )
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/100%% scripts\n")
    assert (
        "lock_timeout is 1500ms" in alembic("-x", "lock_timeout=1.5", "upgrade", "head", url=database, cwd=tmp_path)[1]
    )
