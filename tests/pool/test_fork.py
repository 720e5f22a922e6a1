"""After a fork the child's pool starts empty, and the parent's sessions live on. Each scenario runs by itself."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from .helpers import sqlalchemy_url

PROLOGUE = """
import contextlib, faulthandler, multiprocessing, os, sys, threading, time, traceback
from sqlalchemy import create_engine, text
from dbkit.pool.elastic import ElasticPool

engine = create_engine(sys.argv[1], poolclass=ElasticPool, min_size=2, max_size=4, pool_timeout=10)

@contextlib.contextmanager
def locked(pool):
    with pool._lock:
        yield

def pid_of(connection):
    return connection.connection.driver_connection.get_backend_pid()

def in_child(work, leave=os._exit):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(15)  # where it hangs, if it does
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(99)
        leave(7)
    deadline = time.monotonic() + 20
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise SystemExit("the child hangs")
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(status) == 7, os.waitstatus_to_exitcode(status)

def use(expected_not=()):
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        assert pid_of(connection) not in expected_not, "the parent's connection"
"""


def run(url: str, script: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PROLOGUE + textwrap.dedent(script),
            sqlalchemy_url(url).render_as_string(hide_password=False),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_the_child_has_connections_of_its_own_and_the_parents_live_on(shared_database: str, leave: str):
    run(
        shared_database,
        f"""
        engine.pool.warm_up()
        with engine.connect() as one, engine.connect() as two:
            ours = {{pid_of(one), pid_of(two)}}

        def work():
            stats = engine.pool.stats()
            assert (stats.size, stats.idle, stats.in_use, stats.opens) == (0, 0, 0, 0), stats
            use(expected_not=ours)
            assert engine.pool.stats().opens >= 1

        in_child(work, leave={leave})
        for _ in range(2):
            with engine.connect() as one, engine.connect() as two:
                assert {{pid_of(one), pid_of(two)}} == ours
                assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().opens == 2
        """,
    )


@pytest.mark.parametrize("end", ["engine.dispose()", "engine.pool.close(1)", "engine.dispose(close=False)"])
def test_a_child_that_ends_its_pool_ends_nothing_of_the_parents(shared_database: str, end: str):
    run(
        shared_database,
        f"""
        engine.pool.warm_up()

        def work():
            {end}

        def use_then_end():
            use()
            {end}

        in_child(work)
        in_child(use_then_end)
        with engine.connect() as one, engine.connect() as two:
            assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().opens == 2
        assert engine.pool.stats().closes == {{}}
        """,
    )


@pytest.mark.parametrize("end", ["pass", "raise KeyError"])
def test_a_child_that_leaves_a_block_it_was_forked_in_ends_nothing_of_the_parents(shared_database: str, end: str):
    run(
        shared_database,
        f"""
        from dbkit.session.scopes import raw_connection

        def fork_inside():
            with raw_connection(engine) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id()")
                (before,) = cursor.fetchone()
                child = os.fork()
                if child == 0:
                    {end}
                else:
                    found, status = os.waitpid(child, 0)
                    assert os.waitstatus_to_exitcode(status) == 7
                    cursor.execute("SELECT pg_current_xact_id()")
                    assert cursor.fetchone() == (before,), "the child ended the transaction"
            return child

        engine.pool.warm_up()
        child = 0
        try:
            child = fork_inside()
        except KeyError:
            pass
        if child == 0:
            try:
                use()
            except BaseException:
                traceback.print_exc()
                os._exit(99)
            os._exit(7)
        use()
        assert engine.pool.stats().opens == 2, engine.pool.stats()
        """,
    )


def test_what_was_out_at_the_fork_is_inert_in_the_child(shared_database: str):
    run(
        shared_database,
        """
        connection = engine.connect()
        connection.execute(text("CREATE TEMPORARY TABLE mine (n int)"))
        connection.execute(text("INSERT INTO mine VALUES (1)"))

        def work():
            try:
                connection.execute(text("INSERT INTO mine VALUES (2)"))
            except Exception:
                pass
            else:
                raise AssertionError("the child used the parent's session")
            use()
            assert engine.pool.stats().in_use == 0

        in_child(work)
        assert connection.scalar(text("SELECT count(*) FROM mine")) == 1  # the transaction lives
        connection.commit()
        connection.close()
        use()
        """,
    )


def test_a_fairy_given_back_in_the_child_changes_nothing(shared_database: str):
    run(
        shared_database,
        """
        held = engine.raw_connection()
        held.cursor().execute("CREATE TEMPORARY TABLE mine (n int)")

        def work():
            held.close()
            stats = engine.pool.stats()
            assert (stats.size, stats.in_use) == (0, 0), stats
            use()

        in_child(work)
        held.cursor().execute("INSERT INTO mine VALUES (1)")
        held.commit()
        held.close()
        assert engine.pool.stats().opens == engine.pool.stats().size
        """,
    )


def test_leaving_the_child_from_within_a_with_block(shared_database: str):
    run(
        shared_database,
        """
        with engine.connect() as connection:
            connection.execute(text("CREATE TEMPORARY TABLE mine (n int)"))
            child = os.fork()
            if child == 0:
                try:
                    connection.close()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            connection.execute(text("INSERT INTO mine VALUES (1)"))
            assert connection.scalar(text("SELECT count(*) FROM mine")) == 1
        """,
    )


def test_a_fork_while_another_thread_holds_the_pools_lock(shared_database: str):
    run(
        shared_database,
        """
        use()
        inside, leave = threading.Event(), threading.Event()

        def hold():
            with locked(engine.pool):
                inside.set()
                leave.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        assert inside.wait(10)
        try:
            in_child(use)
        finally:
            leave.set()
            thread.join()
        use()
        """,
    )


def test_a_fork_in_the_midst_of_busy_threads(shared_database: str):
    run(
        shared_database,
        """
        use()  # SQLAlchemy holds a lock of its own while it first connects, which a child would inherit
        enough = threading.Event()
        errors = []

        def hammer():
            try:
                while not enough.is_set():
                    use()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            in_child(use)
        enough.set()
        for thread in threads:
            thread.join(20)
        assert not errors, errors
        stats = engine.pool.stats()
        assert stats.in_use == stats.waiting == 0, stats
        """,
    )


def test_the_childs_upkeep_is_its_own(shared_database: str):
    run(
        shared_database,
        """
        engine = create_engine(sys.argv[1], poolclass=ElasticPool, min_size=1, max_size=4, max_idle=0.2)
        use()

        def work():
            held = [engine.connect() for _ in range(3)]
            for connection in held:
                connection.close()
            deadline = time.monotonic() + 10
            while engine.pool.stats().size > 1:
                assert time.monotonic() < deadline, engine.pool.stats()
                time.sleep(0.005)

        in_child(work)
        """,
    )


def test_children_of_multiprocessing(shared_database: str):
    run(
        shared_database,
        """
        use()

        def child():
            for _ in range(20):
                use()

        context = multiprocessing.get_context("fork")
        children = [context.Process(target=child) for _ in range(4)]
        for process in children:
            process.start()
        for process in children:
            process.join(200)
        assert [process.exitcode for process in children] == [0] * 4
        use()
        assert engine.pool.stats().opens == 2
        """,
    )


def test_a_fork_waits_for_a_connect_under_way(shared_database: str):
    run(
        shared_database,
        """
        import psycopg2
        began, ended = threading.Event(), threading.Event()
        use()

        def slow(dsn=engine.url.set(drivername="postgresql").render_as_string(hide_password=False)):
            began.set()
            time.sleep(0.3)
            connection = psycopg2.connect(dsn)
            ended.set()
            return connection

        other = ElasticPool(lambda: slow(), min_size=0)
        thread = threading.Thread(target=lambda: other.connect().close())
        thread.start()
        assert began.wait(10) and not ended.is_set()
        in_child(use)
        assert ended.is_set(), "the fork did not wait"
        thread.join()
        """,
    )


def test_a_fork_in_the_midst_of_the_first_connections_events(shared_database: str):
    run(
        shared_database,
        """
        from sqlalchemy import event

        inside, go_on, parent = threading.Event(), threading.Event(), os.getpid()

        @event.listens_for(engine, "connect")
        def slow(connection, record):
            if os.getpid() == parent:
                inside.set()
                assert go_on.wait(60)

        thread = threading.Thread(target=use)
        thread.start()
        assert inside.wait(60)
        in_child(use)
        go_on.set()
        thread.join()
        """,
    )
