"""``require_writer``: after a failover no connection to a server that lets nobody write survives.

Here the server is demoted under its connections; ``test_failover.py`` has two servers that change places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from sqlalchemy import exc, text

from dbkit.diagnosis.outage import is_refusal
from dbkit.drivers import for_connection, sqlstate_of
from dbkit.embedded import EmbeddedPostgres
from dbkit.pool.errors import PoolTimeoutError
from dbkit.pool.server_checks import demand_writer
from dbkit.session.scopes import raw_connection

from .helpers import QUIET, Admin, at_rest, engine_on, eventually, in_line, pid_of, unique
from .runtimes import Task, done, on_each_runtime

NUMBERS = QUIET | {"min_size": 3, "max_size": 3, "pool_timeout": 60}
WRITE = text("INSERT INTO written VALUES (1)")


class Primary:
    """A server that can be demoted, without losing a connection, and made the primary again."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.url = server.url()

    def demote(self) -> None:
        self._let(write=False)

    def promote(self) -> None:
        self._let(write=True)

    def _let(self, *, write: bool) -> None:
        setting = "default_transaction_read_only"
        self.server.execute(f"ALTER SYSTEM SET {setting} = {'off' if write else 'on'}")
        self.server.execute("SELECT pg_reload_conf()")
        eventually(lambda: self.server.execute(f"SHOW {setting}") == [("off" if write else "on",)])


@pytest.fixture(scope="module")
def own(memory_folder: str | None) -> Iterator[EmbeddedPostgres]:
    """Return a server that these tests may demote."""
    with EmbeddedPostgres.start(temp_dir=memory_folder) as running:
        running.execute("CREATE TABLE written (n int)")
        yield running


@pytest.fixture
def primary(own: EmbeddedPostgres) -> Iterator[Primary]:
    found = Primary(own)
    yield found
    found.promote()


@pytest.fixture
def watch(own: EmbeddedPostgres) -> Iterator[Admin]:
    found = Admin(own.url())
    yield found
    found.close()


def write(engine: Any) -> int:
    """Write, as a borrower does; return the backend's pid."""
    with engine.begin() as connection:
        connection.execute(WRITE)
        return pid_of(connection)


@on_each_runtime
def test_a_refused_write_retires_all_and_the_line_waits_for_a_writer(primary: Primary, watch: Admin):
    name = unique("guard")
    with engine_on(primary.url, name=name, require_writer=True, **NUMBERS) as engine:
        done(engine.pool.warm_up())
        old = watch.pids(name)
        with engine.connect() as out:  # one that is out at that moment
            primary.demote()
            with pytest.raises(exc.DBAPIError) as caught:
                write(engine)
            assert sqlstate_of(caught.value.orig) == "25006"
            assert caught.value.connection_invalidated
            eventually(lambda: watch.pids(name) & old == {pid_of(out)})
        eventually(lambda: not watch.pids(name) & old)
        assert engine.pool.stats().closes == {"invalidated": 3}
        # New connections are refused as long as that lasts, and a borrower rides it out.
        writers = [Task(write, engine) for _ in range(4)]
        in_line(engine.pool, 4)
        eventually(lambda: engine.pool.stats().open_failures >= 2)
        assert engine.pool.stats().size - engine.pool.stats().opening == 0
        primary.promote()
        assert {writer.outcome(30) for writer in writers}.isdisjoint(old)
        at_rest(engine.pool, idle=3, in_use=0)


@on_each_runtime
def test_the_keepalive_finds_it_before_any_borrower(primary: Primary, watch: Admin):
    name = unique("ping")
    with engine_on(primary.url, name=name, require_writer=True, **NUMBERS | {"keepalive": 0.05}) as engine:
        done(engine.pool.warm_up())
        old = watch.pids(name)
        primary.demote()
        eventually(lambda: not watch.pids(name) & old)
        assert engine.pool.stats().closes == {"dead": 3}
        primary.promote()
        assert write(engine) not in old
        at_rest(engine.pool, idle=3)


@on_each_runtime
def test_without_it_nothing_of_that(primary: Primary, watch: Admin):
    name = unique("plain")
    with engine_on(primary.url, name=name, **NUMBERS | {"keepalive": 0.05}) as engine:
        done(engine.pool.warm_up())
        old = watch.pids(name)
        primary.demote()
        with pytest.raises(exc.DBAPIError) as caught:
            write(engine)
        assert not caught.value.connection_invalidated
        assert watch.pids(name) == old
        assert engine.pool.stats().closes == {}
        primary.promote()
        assert write(engine) in old


@on_each_runtime
def test_other_errors_are_no_failover(primary: Primary, watch: Admin):
    name = unique("others")
    with engine_on(primary.url, name=name, require_writer=True, **NUMBERS) as engine:
        done(engine.pool.warm_up())
        old = watch.pids(name)
        with engine.connect() as connection, pytest.raises(exc.DBAPIError) as caught:
            connection.execute(text("SELECT 1 / 0"))
        assert not caught.value.connection_invalidated
        assert watch.pids(name) == old


@on_each_runtime
def test_who_asks_for_read_only_transactions_is_no_failover_either(primary: Primary, watch: Admin):
    name = unique("readonly")
    with engine_on(primary.url, name=name, require_writer=True, **NUMBERS) as engine:
        done(engine.pool.warm_up())
        old = watch.pids(name)
        with engine.connect().execution_options(postgresql_readonly=True) as connection:
            with pytest.raises(exc.DBAPIError) as caught:
                connection.execute(WRITE)
        assert sqlstate_of(caught.value.orig) == "25006"
        assert not caught.value.connection_invalidated
        assert write(engine) in watch.pids(name) == old


def test_a_write_past_sqlalchemy_is_noticed_too(primary: Primary):
    with engine_on(primary.url, require_writer=True, **NUMBERS) as engine:
        done(engine.pool.warm_up())
        primary.demote()
        with pytest.raises(psycopg2.Error), raw_connection(engine) as connection:
            connection.cursor().execute(WRITE.text)
        assert engine.pool.stats().closes == {"invalidated": 3}


def test_a_first_connect_to_a_read_only_server_fails_at_once_in_libpqs_words(primary: Primary, watch: Admin):
    name = unique("first")
    primary.demote()
    with engine_on(primary.url, name=name, require_writer=True, **NUMBERS) as engine:
        with pytest.raises(exc.OperationalError, match="session is read-only") as caught:
            engine.connect()
        assert not is_refusal(caught.value.orig)
        eventually(lambda: not watch.pids(name))  # what was refused was closed


@on_each_runtime
def test_a_borrower_who_runs_out_of_time_is_told_why(primary: Primary):
    numbers = NUMBERS | {"min_size": 0, "pool_timeout": 0.3}
    with engine_on(primary.url, require_writer=True, **numbers) as engine:
        eventually(lambda: connects(engine))
        primary.demote()
        engine.pool.dispose()

        def is_told() -> bool:  # once an attempt was refused within its time
            with pytest.raises(PoolTimeoutError) as caught:
                engine.connect()
            return "session is read-only" in str(caught.value)

        eventually(is_told)


def connects(engine: Any) -> bool:
    """Whether a borrower was served within its short time."""
    try:
        engine.connect().close()
    except PoolTimeoutError:
        return False
    return True


@on_each_runtime
def test_the_guard_is_carried_to_the_engines_next_pool(primary: Primary):
    with engine_on(primary.url, require_writer=True, **NUMBERS) as engine:
        engine.dispose()
        assert engine.pool.require_writer
        pid = write(engine)
        primary.demote()
        with pytest.raises(exc.DBAPIError) as caught:
            write(engine)
        assert caught.value.connection_invalidated
        primary.promote()
        assert write(engine) != pid


def test_a_check_that_fails_leaves_no_connection_behind(primary: Primary):
    class Unanswering(psycopg2.extensions.cursor):
        def execute(self, query: Any, arguments: Any = None) -> None:
            raise psycopg2.OperationalError("no answer")

    connection = psycopg2.connect(primary.url, cursor_factory=Unanswering)
    with pytest.raises(psycopg2.OperationalError, match="no answer"):
        demand_writer(for_connection(connection), connection)
    assert connection.closed
