"""Migrations that are ended in the middle of a long statement: by Ctrl-C, and by kill -9."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from sqlalchemy import make_url

from dbkit import DatabaseConnectionManager

from .conftest import write_revision
from .test_command_line import start
from .test_lock import wait_until
from .test_migrate import CLEAN, exists, session_state

SLEEP = 300
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)%' AND pid <> pg_backend_pid()"


@pytest.fixture
def sleeping(scripts):
    write_revision(scripts, "two", "one", f"op.execute('SELECT pg_sleep({SLEEP})')")
    return scripts


@pytest.mark.parametrize("driver", ("psycopg2", "psycopg"))
def test_ctrl_c_cancels_the_statement_and_all_is_rolled_back(database, db, sleeping, driver):
    pytest.importorskip(driver)
    url = make_url(database).set(drivername=f"postgresql+{driver}")
    struck = []

    def strike() -> None:
        wait_until(lambda: db.execute_query(ASLEEP).scalar() == 1, 120)
        struck.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    with DatabaseConnectionManager(url, min_size=0, max_size=1) as migrating:
        striking = threading.Thread(target=strike)
        striking.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                migrating.migrate(script_location=sleeping)
            assert time.monotonic() - struck[0] < SLEEP / 10
        finally:
            striking.join()
        wait_until(lambda: db.execute_query(ASLEEP).scalar() == 0)
        assert not exists(db, "made")
        assert migrating.stats().in_use == 0
    if driver == "psycopg2":
        assert session_state(db) == CLEAN


def test_a_killed_migrator_frees_the_lock_in_the_middle_of_its_statement(db, database, sleeping, tmp_path):
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/100%% scripts\n")
    with start("upgrade", "head", url=database, cwd=tmp_path) as process:
        wait_until(lambda: db.execute_query(ASLEEP).scalar() == 1, 180)
        process.kill()
        process.communicate()
    (sleeping / "versions" / "two.py").unlink()
    db.migrate(script_location=sleeping, timeout=SLEEP / 10)
    assert exists(db, "made")
