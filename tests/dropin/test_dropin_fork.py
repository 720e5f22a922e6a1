"""A forked child goes on using each class; it starts empty, and what was out at the fork stays its parent's.

Each scenario runs by itself.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

PROLOGUE = """
import faulthandler, os, sys, threading, traceback
import psycopg2

def child(work):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(15, exit=True)  # where it hangs, if it does
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed; see above"

def pid_of(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]
"""


def run(script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROLOGUE + textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["DatabaseConnectionPool", "DatabasePool"])
def test_a_forked_child_goes_on_using_the_class(environment: Callable[..., str], address: dict[str, Any], name: str):
    environment(address)
    initialize, give_back, close, module_name = {
        "DatabaseConnectionPool": (
            "initialize_pool(1, 2)",
            "put_connection",
            "close_all_connections()",
            "database_connection_pool",
        ),
        "DatabasePool": (f"initialize(**{address!r})", "return_connection", "close()", "database_pool"),
    }[name]
    run(
        f"""
        from dbkit.dropin import {name} as Pool, NotLentError
        from dbkit.dropin import {module_name} as module

        Pool.{initialize}
        parents = Pool.get_connection()
        parents_pid = pid_of(parents)
        parents.cursor().execute("CREATE TEMPORARY TABLE mine (n integer)")

        def use():
            try:
                parents.cursor()
            except psycopg2.InterfaceError:
                pass
            else:
                raise SystemExit("the child may use the parent's connection")
            conn = Pool.get_connection()
            assert pid_of(conn) != parents_pid
            Pool.{give_back}(conn)
            Pool.{give_back}(parents)  # as a finally block does; harmless
            try:
                Pool.{give_back}(parents)
            except NotLentError:
                pass
            else:
                raise SystemExit("twice")
            assert pid_of(Pool.get_connection()) not in (0, parents_pid)
            Pool.{close}

        child(use)
        parents.cursor().execute("INSERT INTO mine VALUES (1)")  # in the transaction that was open at the fork
        assert pid_of(parents) == parents_pid
        Pool.{give_back}(parents)
        Pool.{close}

        # a fork while another thread makes the pool: its lock is held, and not in the child
        held, release = threading.Event(), threading.Event()

        def hold():
            with module._pool._lock:
                held.set()
                release.wait(30)

        threading.Thread(target=hold, daemon=True).start()
        assert held.wait(10)

        def anew():
            Pool.{initialize}
            Pool.{give_back}(Pool.get_connection())
            Pool.{close}

        child(anew)
        release.set()
        anew()
        """
    )


def test_a_forked_child_goes_on_using_the_pool(shared_database: str):
    run(
        """
        from dbkit.dropin.connection_pool import ConnectionPool

        class Server:
            def create_connection(self):
                return psycopg2.connect(sys.argv[1])

        pool = ConnectionPool(Server(), min_size=1, max_size=2, timeout=10)
        conn = pool.acquire()
        pid = pid_of(conn)
        cursor = conn.cursor()
        cursor.execute("CREATE TEMPORARY TABLE t AS SELECT 1")

        def use():
            with pool.connection() as own:
                assert pid_of(own) != pid
            pool.release(conn)  # the parent's: nothing happens to it
            pool.close()

        child(use)
        cursor.execute("SELECT * FROM t")  # neither rolled back nor committed
        assert conn.get_transaction_status() == 2
        pool.release(conn)
        pool.close()
        """,
        shared_database,
    )


def test_a_forked_child_goes_on_using_it(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, max_conn=2)
    run(
        """
        from dbkit.dropin import postgresql_connection as module
        from dbkit.dropin.postgresql_connection import PostgresqlConnection

        def use(db, other_than=0):
            with db as conn:
                pid = pid_of(conn)
                assert pid != other_than
                return pid

        db = PostgresqlConnection()
        pid = use(db)
        child(lambda: use(db, other_than=pid))
        with db as conn:
            child(lambda: use(db, other_than=pid))
        assert use(db) == pid

        # while another thread makes the pool, and holds the lock
        PostgresqlConnection.close_all()
        inside, go_on = threading.Event(), threading.Event()
        load = module._load

        def slow():
            inside.set()
            assert go_on.wait(15)
            return load()

        module._load = slow
        maker = threading.Thread(target=PostgresqlConnection)
        maker.start()
        assert inside.wait(15)

        def in_child():
            module._load = load
            use(PostgresqlConnection())

        child(in_child)
        go_on.set()
        maker.join()
        assert use(db)
        """
    )
