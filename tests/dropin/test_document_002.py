"""``PostgresqlConnection``: its document's example as it stands there, and each of its promises."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import subprocess
import sys
import textwrap
import threading
import unittest
import weakref
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import InFailedSqlTransaction
from sqlalchemy import exc

from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.errors import ClosedError, NoConnectionError, NotLentError
from dbkit.dropin.postgresql_connection import PostgresqlConnection
from dbkit.errors import SettingsError

from ..pool.helpers import Admin, Task, eventually, in_line, unique
from ..shown import everything_shown
from .conftest import address_of
from .documents import changed, document

CANARY = "s3cr3t-canary"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    PostgresqlConnection.close_all()
    assert not module._here.begun_by_hand


@pytest.fixture
def db(environment: Callable[..., str], address: dict[str, Any]) -> PostgresqlConnection:
    """The object on the shared database, with a pool of up to four; at its end all must be back."""
    environment(address, max_conn=4, timeout=5)
    return PostgresqlConnection()


def pool() -> Any:
    assert module._pool._open is not None
    return module._pool._open[0].pool


def in_use() -> int:
    used: int = pool().stats().in_use
    return used


@pytest.fixture
def table(admin: Admin) -> Iterator[str]:
    """An empty table (word text)."""
    name = unique("words")
    admin.rows(f"CREATE TABLE {name} (word text)")
    yield name
    admin.rows(f"DROP TABLE {name}")


def say(conn: Any, table: str, word: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (%s)", (word,))


def words(admin: Admin, table: str) -> list[str]:
    """Return what was committed."""
    return sorted(word for (word,) in admin.rows(f"SELECT word FROM {table}"))


# ---- the document


def test_the_documents_example(users_database: str, environment: Callable[..., str]):
    environment(address_of(users_database))
    last = "PostgresqlConnection.close_all()\n"
    code = document("002").partition("```python\n")[2].partition(last)[0] + last  # its block has no end
    code = changed(code, a="from db_connection import -> from dbkit.dropin.postgresql_connection import")
    done: dict[str, Any] = {}
    exec(code.replace(last, f"rows = fetch_data()\n{last}"), done)
    assert done["rows"] == [(1, "Ada"), (2, "Grace")]
    assert module._pool._open is None
    assert done["fetch_data"]() == done["rows"]  # it opens a new one
    assert PostgresqlConnection() is done["db"]


def test_the_documents_example_tells_what_went_wrong(database: str, environment: Callable[..., str], capsys: Any):
    environment(address_of(database))
    code = document("002").partition("```python\n")[2].partition("# Shutdown")[0]
    done: dict[str, Any] = {}
    exec(changed(code, a="from db_connection import -> from dbkit.dropin.postgresql_connection import"), done)
    assert done["fetch_data"]() is None
    assert capsys.readouterr().out.startswith('Error: relation "users" does not exist\n')
    assert in_use() == 0


# ---- the settings


@pytest.mark.parametrize("given", [(), ("host",), ("user",), ("dbname", "host")])
def test_what_is_required_and_missing_is_named(
    environment: Callable[..., str], address: dict[str, Any], given: tuple[str, ...]
):
    environment({key: value for key, value in address.items() if key in given})
    with pytest.raises(SettingsError) as caught:
        PostgresqlConnection()
    required = {"DB_HOST": "host", "DB_USER": "user", "DB_NAME": "dbname"}
    assert [fault.key for fault in caught.value.faults] == [
        variable for variable, key in required.items() if key not in given
    ]
    assert "DB_PASSWORD" not in str(caught.value)
    assert module._pool._open is None


def test_the_defaults_are_the_documents(environment: Callable[..., str]):
    environment({"host": "example.com", "user": "me", "name": "mine"})
    settings = module._load()
    assert (settings.port, settings.policy.min_size, settings.policy.max_size) == (5432, 1, 20)
    assert settings.password is None
    environment({}, port=6543, min_conn=0, max_conn=3)
    settings = module._load()
    assert (settings.port, settings.policy.min_size, settings.policy.max_size) == (6543, 0, 3)


def test_the_settings_may_stand_in_a_file(
    users_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, admin: Admin
):
    address = address_of(users_database)
    names = {"dbname": "name"}
    (tmp_path / ".env").write_text("".join(f"DB_{names.get(k, k).upper()}={v}\n" for k, v in address.items()))
    monkeypatch.chdir(tmp_path)
    with PostgresqlConnection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (address["dbname"],)


def test_a_refused_login_is_told_when_the_object_is_made(
    environment: Callable[..., str], address: dict[str, Any], caplog: Any
):
    caplog.set_level(logging.DEBUG)
    environment({**address, "password": CANARY})
    for attempt in (PostgresqlConnection, object.__new__(PostgresqlConnection).__enter__):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed") as caught:
            attempt()
        assert not isinstance(caught.value, exc.SQLAlchemyError)
        assert CANARY not in everything_shown(caught.value).replace(repr(address), "")
        assert module._pool._open is None
    assert CANARY not in caplog.text
    environment(address)
    with PostgresqlConnection() as conn:
        assert CANARY not in repr(PostgresqlConnection()) + repr(conn)


def test_a_refused_connect_later_is_the_drivers_error_too(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin, database: str
):
    role = f"one_only_{database.rpartition('_')[2]}"
    admin.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'one' CONNECTION LIMIT 1")
    try:
        environment({**address_of(database), "user": role, "password": "one"}, reconnect_timeout=0)
        db = PostgresqlConnection()
        with db, pytest.raises(psycopg2.OperationalError, match="too many connections for role") as caught:
            db.__enter__()
        assert not isinstance(caught.value, exc.SQLAlchemyError)
        assert in_use() == 0
        PostgresqlConnection.close_all()
        eventually(lambda: not admin.rows("SELECT 1 FROM pg_stat_activity WHERE usename = %s", role))
    finally:
        admin.rows(f"DROP ROLE {role}")


# ---- one object


def test_fifty_threads_get_one_object_and_one_pool(
    environment: Callable[..., str], address: dict[str, Any], admin: Admin
):
    name = environment(address, min_conn=2)
    start = threading.Barrier(50)

    def make() -> PostgresqlConnection:
        start.wait(10)
        return PostgresqlConnection()

    made = [task.outcome(30) for task in [Task(make) for _ in range(50)]]
    assert len({id(one) for one in made}) == 1
    assert PostgresqlConnection() is made[0]
    assert len(admin.pids(name)) == 2


def test_a_subclass_has_an_object_of_its_own_and_the_same_pool(db: PostgresqlConnection):
    class Mine(PostgresqlConnection):
        pass

    assert type(Mine()) is Mine
    assert Mine() is Mine()
    assert type(PostgresqlConnection()) is PostgresqlConnection
    with Mine():
        assert in_use() == 1


# ---- a block


def test_a_block_is_committed(db: PostgresqlConnection, admin: Admin, table: str):
    with db as conn:
        assert isinstance(conn, psycopg2.extensions.connection)
        say(conn, table, "kept")
        assert words(admin, table) == []
    assert words(admin, table) == ["kept"]
    assert in_use() == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_a_block_that_raises_is_rolled_back(
    db: PostgresqlConnection, admin: Admin, table: str, error: type[BaseException]
):
    raised = error("mine")
    with pytest.raises(error) as caught, db as conn:
        say(conn, table, "lost")
        raise raised
    assert caught.value is raised
    assert words(admin, table) == []
    assert in_use() == 0


def test_the_drivers_errors_pass_unchanged(db: PostgresqlConnection, table: str):
    with pytest.raises(psycopg2.errors.UndefinedColumn) as caught, db as conn, conn.cursor() as cursor:
        cursor.execute(f"SELECT nothing FROM {table}")
    assert caught.value.__context__ is None
    assert in_use() == 0


def test_a_commit_that_fails_is_told_and_the_connection_goes_back(db: PostgresqlConnection, admin: Admin):
    with pytest.raises(psycopg2.IntegrityError), db as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE late (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP")
        cursor.execute("INSERT INTO late VALUES (1), (1)")
    assert in_use() == 0
    with db as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_an_error_handled_inside_that_made_the_commit_impossible_is_told(db: PostgresqlConnection):
    with pytest.raises(InFailedSqlTransaction, match="Nothing was committed") as caught, db as conn:
        with pytest.raises(psycopg2.errors.SyntaxError), conn.cursor() as cursor:
            cursor.execute("nonsense")
    assert not isinstance(caught.value, exc.SQLAlchemyError)
    assert in_use() == 0


def test_a_connection_lost_in_its_block_is_replaced(db: PostgresqlConnection, admin: Admin):
    with pytest.raises(psycopg2.Error), db as conn, conn.cursor() as cursor:
        pid = conn.get_backend_pid()
        admin.kill(pid)
        cursor.execute("SELECT 1")
    with db as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert conn.get_backend_pid() != pid


def test_a_full_pool_waits_and_then_names_the_holders(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, max_conn=1, timeout=0.05)
    db = PostgresqlConnection()
    has_it, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with db:
            has_it.set()
            let_go.wait(10)

    holder = Task(hold, name="the-holder")
    assert has_it.wait(10)
    with pytest.raises(NoConnectionError, match="No connections available") as caught, db:
        pass
    assert isinstance(caught.value, RuntimeError)
    assert "the-holder" in str(caught.value)
    let_go.set()
    holder.outcome()
    with db:
        pass


# ---- which block ends


def test_nested_blocks_have_connections_of_their_own(db: PostgresqlConnection, admin: Admin, table: str):
    with db as outer, db as inner:
        assert outer is not inner
        say(outer, table, "outer")
        with pytest.raises(ValueError), db as innermost:
            say(innermost, table, "innermost")
            raise ValueError
        say(inner, table, "inner")
        assert in_use() == 2
    assert words(admin, table) == ["inner", "outer"]
    assert in_use() == 0


Saying = Generator[Any, None, None]


def saying(db: PostgresqlConnection, table: str, word: str) -> Saying:
    """A block that is open from the first step to the second."""
    with db as conn:
        say(conn, table, word)
        yield conn


def finish(generator: Saying) -> None:
    with contextlib.suppress(StopIteration):
        next(generator)
        pytest.fail("not finished")


def fail(generator: Saying) -> None:
    with contextlib.suppress(ValueError):
        generator.throw(ValueError())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_blocks_of_generators_end_in_any_order(
    db: PostgresqlConnection, admin: Admin, table: str, order: tuple[int, ...]
):
    open_blocks = [saying(db, table, str(number)) for number in range(3)]
    for block in open_blocks:
        next(block)
    with db as conn:  # one of this very frame between them
        say(conn, table, "plain")
        (finish if order[0] != 1 else fail)(open_blocks[order[0]])
    for number in order[1:]:
        (finish if number != 1 else fail)(open_blocks[number])
    assert words(admin, table) == ["0", "2", "plain"]
    assert in_use() == 0


def test_a_block_may_end_on_another_thread(db: PostgresqlConnection, admin: Admin, table: str):
    """As FastAPI's dependencies do: ``yield`` in a ``with``, each step on any thread of a pool of threads."""
    good, bad = saying(db, table, "good"), saying(db, table, "bad")
    Task(next, good).outcome()
    with db as own:
        say(own, table, "own")
        Task(next, bad).outcome()
        Task(finish, good).outcome()
        assert in_use() == 2
        fail(bad)
    assert words(admin, table) == ["good", "own"]
    assert in_use() == 0


def test_coroutines_of_one_thread_interleave(db: PostgresqlConnection, admin: Admin, table: str):
    async def work(number: int, turns: int) -> None:
        with db as conn:
            say(conn, table, str(number))
            for _ in range(turns):
                await asyncio.sleep(0)
            if number == 1:
                raise ValueError

    async def main() -> list[Any]:
        return await asyncio.gather(work(0, 5), work(1, 3), work(2, 1), work(3, 4), return_exceptions=True)

    assert [type(result) for result in asyncio.run(main())] == [type(None), ValueError, type(None), type(None)]
    assert words(admin, table) == ["0", "2", "3"]
    assert in_use() == 0


def test_a_generator_that_is_forgotten_is_rolled_back(db: PostgresqlConnection, admin: Admin, table: str):
    class Local:
        pass

    gone: list[weakref.ref[Local]] = []

    def forgotten() -> Saying:
        local = Local()
        gone.append(weakref.ref(local))
        with db as conn:
            say(conn, table, "forgotten")
            yield conn
        del local

    generator = forgotten()
    next(generator)
    assert in_use() == 1
    del generator  # nothing else holds its frame
    assert gone[0]() is None
    assert in_use() == 0

    cycle: list[Any] = [forgotten()]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()
    assert gone[1]() is None
    assert in_use() == 0
    assert words(admin, table) == []


def test_exit_stacks(db: PostgresqlConnection, admin: Admin, table: str):
    one, other = contextlib.ExitStack(), contextlib.ExitStack()
    say(one.enter_context(db), table, "one")
    say(other.enter_context(db), table, "other")
    say(one.enter_context(db), table, "one again")
    moved = one.pop_all()
    one.close()
    assert words(admin, table) == []
    assert in_use() == 3
    moved.close()
    assert words(admin, table) == ["one", "one again"]
    with pytest.raises(ValueError), other:
        raise ValueError
    assert words(admin, table) == ["one", "one again"]
    assert in_use() == 0


def test_an_asynchronous_exit_stack_and_unittests_way(db: PostgresqlConnection, admin: Admin, table: str):
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            say(stack.enter_context(db), table, "asynchronous")

    class Case(unittest.TestCase):
        def runTest(self) -> None:
            say(self.enterContext(db), table, "tested")

    asyncio.run(main())
    assert Case().run().wasSuccessful()  # type: ignore[union-attr]
    assert words(admin, table) == ["asynchronous", "tested"]
    assert in_use() == 0


def test_by_hand(db: PostgresqlConnection, admin: Admin, table: str):
    say(db.__enter__(), table, "outer")
    say(db.__enter__(), table, "inner")
    with db as conn:
        say(conn, table, "block")
        db.__exit__(ValueError, ValueError(), None)
    assert words(admin, table) == ["block"]
    db.__exit__(None, None, None)
    assert words(admin, table) == ["block", "outer"]
    assert in_use() == 0


def test_by_hand_from_a_subclass_or_a_wrapper(db: PostgresqlConnection, admin: Admin, table: str):
    class Mine(PostgresqlConnection):
        def __enter__(self) -> Any:
            return super().__enter__()

        def __exit__(self, *details: Any) -> None:  # type: ignore[override]
            super().__exit__(*details)

    class Wrapper:
        def __enter__(self) -> Any:
            return db.__enter__()

        def __exit__(self, *details: Any) -> Any:
            return db.__exit__(*details)

    with Mine() as outer, Wrapper() as inner:
        say(outer, table, "outer")
        say(inner, table, "inner")
        with pytest.raises(ValueError), db as block:
            with Wrapper() as innermost:
                say(innermost, table, "innermost")
            say(block, table, "block")
            raise ValueError
        assert words(admin, table) == ["innermost"]
    assert words(admin, table) == ["inner", "innermost", "outer"]
    assert in_use() == 0


def test_looking_at_the_methods_changes_nothing(db: PostgresqlConnection, admin: Admin, table: str):
    kept = [db.__exit__ for _ in range(3)]
    with db as conn:
        assert hasattr(db, "__exit__")
        kept.append(db.__exit__)
        with db as inner:
            say(inner, table, "inner")
            kept.append(PostgresqlConnection.__exit__)
        say(conn, table, "outer")
    assert words(admin, table) == ["inner", "outer"]
    del kept
    say(db.__enter__(), table, "by hand")
    db.__exit__(None, None, None)
    assert words(admin, table) == ["by hand", "inner", "outer"]
    assert in_use() == 0
    for _ in range(100):
        assert db.__exit__ is not None
    assert len(module._here.looked_up) <= 1


def test_an_end_without_a_beginning_is_refused(db: PostgresqlConnection, admin: Admin, table: str):
    with db as conn:
        with pytest.raises(NotLentError, match="without an __enter__"):
            db.__exit__(None, None, None)
        say(conn, table, "unharmed")
    ending = db.__exit__
    say(db.__enter__(), table, "once")
    ending(None, None, None)
    with pytest.raises(NotLentError):
        ending(None, None, None)
    assert words(admin, table) == ["once", "unharmed"]


def test_any_number_of_threads_and_generators(db: PostgresqlConnection, admin: Admin, table: str):
    """Each block commits what it said and nothing else, whoever ends it, in whatever order."""
    threads, turns = 4, 40
    shared: list[tuple[Saying, str]] = []
    lock = threading.Lock()
    expected: list[str] = []
    slots = threading.Semaphore(4)  # as many as connections, so that no thread waits for what it holds itself

    def end_one(dice: random.Random) -> None:
        with lock:
            if not shared:
                return
            block, word = shared.pop(dice.randrange(len(shared)))
        if dice.random() < 0.5:
            finish(block)
            with lock:
                expected.append(word)
        elif dice.random() < 0.5:
            fail(block)
        else:
            block.close()
        slots.release()

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for turn in range(turns):
            if slots.acquire(blocking=False):
                word = f"{seed}-{turn}"
                block = saying(db, table, word)
                next(block)
                with lock:
                    shared.append((block, word))
            if dice.random() < 0.6:
                end_one(dice)

    for task in [Task(work, seed) for seed in range(threads)]:
        task.outcome(30)
    while shared:
        end_one(random.Random(0))
    assert words(admin, table) == sorted(expected)
    assert len(expected) > 20
    assert in_use() == 0


# ---- the end


def test_the_end_of_what_was_never_begun():
    PostgresqlConnection.close_all()
    PostgresqlConnection.close_all()


def test_after_the_end_the_next_use_goes_by_the_settings_of_then(
    db: PostgresqlConnection, environment: Callable[..., str], address: dict[str, Any], database: str, admin: Admin
):
    name = environment(address)
    PostgresqlConnection.close_all()
    db.close_all()
    with db as conn:
        assert conn.info.dbname == address["dbname"]
        PostgresqlConnection.close_all()
        with conn.cursor() as cursor:  # whoever is in a block may finish it
            cursor.execute("SELECT 1")
        other = environment(address_of(database))
        with db as elsewhere:
            assert elsewhere.info.dbname == address_of(database)["dbname"]
    eventually(lambda: not admin.pids(name) and len(admin.pids(other)) == 1)


def test_whoever_waits_at_the_end_is_told(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, max_conn=1)
    db = PostgresqlConnection()

    def wait() -> None:
        with db:
            pass

    with db:
        waiter = Task(wait)
        in_line(pool(), 1)
        PostgresqlConnection.close_all()
        with pytest.raises(ClosedError):
            waiter.outcome()


# ---- fork


def test_a_forked_child_goes_on_using_it(environment: Callable[..., str], address: dict[str, Any]):
    environment(address, max_conn=2)
    script = """
import faulthandler, os, sys, threading
from dbkit.dropin import postgresql_connection as module
from dbkit.dropin.postgresql_connection import PostgresqlConnection

def child(work):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(15, exit=True)
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed; see above"

def use(db, other_than=0):
    with db as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
        pid = conn.get_backend_pid()
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
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
