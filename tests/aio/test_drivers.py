"""What each driver for event loops makes of a real connection, from first to last: without an engine or a pool."""

from __future__ import annotations

import asyncio
import os
import socket
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from dbkit.drivers.base import Driver, Transaction
from dbkit.session.asyncio import driver_connection

from ..pool.helpers import Admin
from ..pool.helpers import eventually as eventually_now
from .helpers import eventually, execute

# ---- connecting


def option(made: Driver, connection: Any, name: int) -> int:
    descriptor = made.descriptor(connection)
    assert descriptor is not None
    with socket.socket(fileno=os.dup(descriptor)) as own:
        return own.getsockopt(socket.IPPROTO_TCP, name)


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this is Linux's name")
def test_the_network_is_asked_to_notice_a_server_that_is_gone(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        assert option(made, connection, socket.TCP_KEEPIDLE) == 33
        assert option(made, connection, socket.TCP_KEEPINTVL) == 7

    on_a_connection(body, keepalives=1, keepalives_idle=33, keepalives_interval=7)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_of_several_hosts_the_next_one_is_tried_where_nobody_answers(
    in_a_greenlet, made: Driver, params: dict[str, Any], closed_port: int
):
    def body() -> None:
        connection = made.connect(**params | {"host": "127.0.0.1,127.0.0.1", "port": f"{closed_port},{params['port']}"})
        assert execute(connection, "SELECT 1") == 1
        made.terminate(connection)

    in_a_greenlet(body)


def test_of_several_hosts_none_is_tried_after_a_refusal(
    in_a_greenlet, made: Driver, driver: str, params: dict[str, Any], closed_port: int
):
    several = {"host": "127.0.0.1,127.0.0.1", "port": f"{params['port']},{closed_port}", "password": "wrong"}

    def body() -> None:
        with pytest.raises(Exception, match="password authentication failed") as caught:
            made.connect(**params | several)
        if driver == "asyncpg":
            assert made.sqlstate(caught.value) == caught.value.pgcode == "28P01"  # type: ignore[attr-defined]

    in_a_greenlet(body)


def test_where_nobody_answers_at_all_it_is_the_drivers_own_error(
    in_a_greenlet, made: Driver, params: dict[str, Any], closed_port: int
):
    def body() -> None:
        with pytest.raises(Exception, match=r"[Cc]onnect.*refused|[Cc]onnect call failed") as caught:
            made.connect(**params | {"port": closed_port})
        assert "OperationalError" in type(caught.value).__name__

    in_a_greenlet(body)


# ---- transactions


def test_open_clean_and_closed(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        assert made.is_open(connection)
        assert made.is_clean(connection)
        assert made.transaction(connection) is Transaction.NONE
        assert made.descriptor(connection) is not None
        execute(connection, "BEGIN")
        assert made.transaction(connection) is Transaction.OPEN
        assert not made.is_clean(connection)
        made.leave_transaction(connection)
        assert made.is_clean(connection)
        made.leave_transaction(connection)
        made.end(connection)
        assert not made.is_open(connection)
        assert not made.is_clean(connection)
        assert made.transaction(connection) is Transaction.UNKNOWN
        assert made.descriptor(connection) is None

    on_a_connection(body)


def test_a_transaction_of_sqlalchemys_is_left_and_rolled_back(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        for leave in (made.leave_transaction, roll_back):
            driver_connection(connection)
            driver_connection(connection)  # it has begun
            execute(connection, "CREATE TEMPORARY TABLE lost (id integer)")
            assert made.transaction(connection) is Transaction.OPEN
            leave(connection)
            assert made.is_clean(connection)
            assert execute(connection, "SELECT to_regclass('lost')") is None
            connection.rollback()
            assert made.is_clean(connection)

    def roll_back(connection: Any) -> None:
        rolling_back = made.rolling_back(connection)
        assert rolling_back is not None
        await_only(rolling_back)

    on_a_connection(body)


def test_a_commit_says_whether_it_was_one(on_a_connection, made: Driver, driver: str):
    def body(connection: Any) -> None:
        for statement, committed in (("SELECT 1", True), ("SELECT 1 / 0", False)):
            driver_connection(connection)
            try:
                execute(connection, statement)
            except Exception as error:
                assert "division" in str(error)
            answer = made.commit(connection)
            if driver == "asyncpg":
                assert answer == committed
            assert made.is_clean(connection)
            driver_connection(connection)  # it can be begun again
            connection.rollback()

    on_a_connection(body)


def test_a_commit_that_is_refused_is_the_drivers_error_and_the_end_of_the_transaction(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        execute(connection, "CREATE TEMPORARY TABLE t (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        connection.commit()
        driver_connection(connection)
        execute(connection, "INSERT INTO t VALUES (1), (1)")
        with pytest.raises(Exception, match="duplicate key") as caught:
            made.commit(connection)
        assert made.sqlstate(caught.value) == "23505"
        assert made.is_clean(connection)

    on_a_connection(body)


def test_where_an_error_stands(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        for sql, position in (("SELECT form", 8), ("SELECT 1 / 0", None)):
            with pytest.raises(Exception, match=r"form|division") as caught:
                connection.cursor().execute(sql)
            assert made.error_position(caught.value) == position
            connection.rollback()
        assert made.error_position(None) is None
        assert made.error_position(ValueError()) is None

    on_a_connection(body)


# ---- the end


def asleep(connection: Any, admin: Admin) -> asyncio.Future[Any]:
    """A statement that the server works on."""
    pid = execute(connection, "SELECT pg_backend_pid()")
    connection.rollback()
    sleeping = asyncio.ensure_future(connection.driver_connection.execute("SELECT pg_sleep(60)"))
    looking = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    await_only(eventually(lambda: admin.rows(looking, pid)))
    return sleeping


@pytest.mark.parametrize("driver", ["psycopg"])
def test_a_statement_is_cancelled(on_a_connection, made: Driver, admin: Admin, driver: str):
    def body(connection: Any) -> None:
        sleeping = asleep(connection, admin)
        assert made.cancel(connection) is True
        with pytest.raises(psycopg.errors.QueryCanceled):
            await_only(sleeping)

    on_a_connection(body)


def is_there(admin: Admin, pid: int) -> bool:
    return bool(admin.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))


@pytest.mark.parametrize("how", ["end", "terminate"])
def test_the_end_is_the_end_of_the_session(on_a_connection, made: Driver, admin: Admin, how: str):
    def body(connection: Any) -> None:
        pid = execute(connection, "SELECT pg_backend_pid()")
        getattr(made, how)(connection)
        assert not made.is_open(connection)
        await_only(asyncio.sleep(0))
        eventually_now(lambda: not is_there(admin, pid))

    on_a_connection(body)


def test_an_end_in_the_midst_of_a_statement_ends_that_too(on_a_connection, made: Driver, driver: str, admin: Admin):
    def body(connection: Any) -> None:
        pid = execute(connection, "SELECT pg_backend_pid()")
        connection.rollback()
        sleeping = asleep(connection, admin)
        if driver == "asyncpg":
            sleeping.cancel()  # asyncpg does two things at once for nobody
            await_only(asyncio.wait([sleeping]))
        made.end(connection)
        await_only(asyncio.wait([sleeping]))
        assert sleeping.cancelled() or sleeping.exception() is not None
        eventually_now(lambda: not is_there(admin, pid))

    on_a_connection(body)


@pytest.mark.parametrize("driver", ["psycopg"])
def test_a_statement_whose_connection_is_let_go_of_fails_and_touches_nothing_that_was_freed(
    on_a_connection, made: Driver, admin: Admin
):
    """psycopg's generator has libpq's connection by its address, and looks at it once more."""

    def body(connection: Any) -> None:
        pid = execute(connection, "SELECT pg_backend_pid()")
        connection.rollback()
        sleeping = asleep(connection, admin)
        made.terminate(connection)
        assert not made.is_open(connection)
        await_only(asyncio.wait([sleeping]))
        assert isinstance(sleeping.exception(), psycopg.OperationalError)
        eventually_now(lambda: not is_there(admin, pid))

    on_a_connection(body)


@pytest.mark.parametrize("driver", ["psycopg"])
def test_a_cancellation_that_psycopg_hides_behind_an_assertion_is_found(made: Driver):
    def struck(error: BaseException, hidden_by: BaseException) -> BaseException:
        try:
            try:
                raise error
            finally:
                raise hidden_by
        except BaseException as raised:
            return raised

    cancellation, other = asyncio.CancelledError(), ValueError()
    assert made.cancellation_behind(struck(cancellation, AssertionError())) is cancellation
    assert made.cancellation_behind(struck(cancellation, other)) is other
    other = AssertionError()
    assert made.cancellation_behind(struck(ValueError(), other)) is other


@pytest.mark.parametrize("driver", ["psycopg"])
def test_an_end_waits_until_the_statement_was_left(on_a_connection, made: Driver):
    def body(connection: Any) -> None:
        raw = connection._connection
        await_only(raw.lock.acquire())  # as whoever executes does
        ending = asyncio.ensure_future(greenlet_spawn(made.end, connection))
        await_only(asyncio.sleep(0))
        await_only(asyncio.sleep(0))
        assert made.is_open(connection)
        assert not ending.done()
        raw.lock.release()
        await_only(ending)
        assert not made.is_open(connection)

    on_a_connection(body)


@pytest.mark.parametrize("driver", ["psycopg"])
def test_an_end_waits_no_longer_than_a_moment_for_that(on_a_connection, made: Driver, monkeypatch):
    monkeypatch.setattr("dbkit.drivers.psycopg_asyncio.LEAVE_TIMEOUT", 0.01)

    def body(connection: Any) -> None:
        await_only(connection._connection.lock.acquire())
        with pytest.raises(TimeoutError):
            made.end(connection)
        assert made.is_open(connection), "it is to be terminated"

    on_a_connection(body)


@pytest.mark.parametrize("driver", ["asyncpg"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_after_the_loop_the_socket_is_closed(made: Driver, driver: str, encrypted: bool):
    """asyncio would close it in a turn of its loop."""
    loop = asyncio.new_event_loop()
    loop.close()
    own, other = socket.socketpair()
    plain = SimpleNamespace(_sock=own)
    transport = SimpleNamespace(_ssl_protocol=SimpleNamespace(_transport=plain)) if encrypted else plain

    def terminate() -> None:
        raise RuntimeError("Event loop is closed")

    raw = SimpleNamespace(_transport=transport, _loop=loop, terminate=terminate)
    with own, other:
        made.terminate(SimpleNamespace(_connection=raw))
        assert own.fileno() == -1
        assert plain._sock is None
        raw._transport = None  # it was lost before
        made.terminate(SimpleNamespace(_connection=raw))


@pytest.mark.parametrize("driver", ["asyncpg"])
def test_on_an_open_loop_the_socket_is_left_to_it(made: Driver, driver: str):
    own, other = socket.socketpair()
    done: list[str] = []
    with own, other, asyncio.Runner() as runner:
        raw = SimpleNamespace(
            _transport=SimpleNamespace(_sock=own), _loop=runner.get_loop(), terminate=lambda: done.append("terminated")
        )
        made.terminate(SimpleNamespace(_connection=raw))
        assert own.fileno() != -1
    assert done == ["terminated"]
