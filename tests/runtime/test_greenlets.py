"""In a process patched by gevent or eventlet, greenlets share a pool as threads do, imported before or after patching.

Each scenario has a process of its own. The database is SQLite: psycopg2 would need a wait callback, which is no
business of the pool's.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap

import pytest

for needed in ("gevent", "eventlet"):  # looked for, not imported: eventlet would warn at every later fork
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

PATCH = {
    "gevent": "import gevent.monkey as patcher; patcher.patch_all()",
    "eventlet": "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()",
}
SPAWN = {
    "gevent": "import gevent; spawn = gevent.spawn; join = lambda those: gevent.joinall(those, raise_error=True)",
    "eventlet": "import eventlet; spawn = eventlet.spawn; join = lambda those: [one.wait() for one in those]",
}
IMPORT = "import dbkit, sqlalchemy; dbkit.ElasticPool, dbkit.DatabaseConnectionManager  # imported when first used"

SHARE = """
import time
from sqlalchemy import create_engine, text

engine = create_engine(
    "sqlite://", connect_args={"check_same_thread": False}, poolclass=dbkit.ElasticPool,
    min_size=0, max_size=2, pool_timeout=60, max_idle=0.05,
)
pool = engine.pool
out, most, served = 0, 0, []

def work(name):
    global out, most
    with engine.connect() as connection:
        out += 1
        most = max(most, out)
        time.sleep(0.001)
        served.append(connection.scalar(text("select :name"), {"name": name}))
        out -= 1

join([spawn(work, name) for name in range(20)])
assert sorted(served) == list(range(20)), served
assert most == 2, most
assert pool.stats().opens == 2, pool.stats()

held = [engine.connect(), engine.connect()]
try:
    pool.borrow(0.02)
except dbkit.PoolTimeoutError as error:
    assert "2 in use" in str(error), error
else:
    raise AssertionError("borrowed more than there is")
join([spawn(connection.close) for connection in held])

deadline = time.monotonic() + 60
while pool.stats().size:
    assert time.monotonic() < deadline, pool.stats()
    time.sleep(0.005)
assert dict(pool.stats().closes) == {"max_idle": 2}, pool.stats()
print("shared")
"""


def run(*parts: str) -> str:
    script = "\n".join(textwrap.dedent(part) for part in parts)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_share_a_pool_imported_after_patching(library: str):
    assert run(PATCH[library], IMPORT, SPAWN[library], SHARE) == "shared\n"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_share_a_pool_imported_before_patching(library: str):
    assert run(IMPORT, PATCH[library], SPAWN[library], SHARE) == "shared\n"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_locks_waiters_jobs_and_alarms_are_green_in_a_process_patched_after_the_import(library: str):
    use = """
    import time
    from dbkit.runtime.threads import ThreadRuntime
    runtime = ThreadRuntime()
    log, lock = [], runtime.lock()
    waiter = runtime.waiter(0.0, runtime.who(), None)

    def job():
        log.append("job inside" if lock.is_mine() else "job")
        runtime.call_at(time.monotonic() + 0.01, waiter.wake)

    with lock:
        assert lock.is_mine()
        assert runtime.spawn(job, None)
        time.sleep(0.01)  # lets the other greenlet run
    assert waiter.wait(60)
    print(log, lock.is_mine())
    """
    assert run("from dbkit.runtime import threads", PATCH[library], use) == "['job'] False\n"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_runtime_made_before_patching_names_the_remedy(library: str):
    make = """
from dbkit import PatchedTooLateError
from dbkit.runtime.threads import ThreadRuntime
runtime = ThreadRuntime()
"""
    use = """
    try:
        runtime.spawn(print, None)
    except PatchedTooLateError as error:
        print("before making the pool" in str(error))
    """
    assert run(make, PATCH[library], use) == "True\n"
