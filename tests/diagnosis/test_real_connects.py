"""What psycopg2 and psycopg 3 raise for real, from a real server and from scripted ones, and how it is judged."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest

from dbkit.diagnosis.answers import sqlstate
from dbkit.diagnosis.outage import is_refusal
from dbkit.diagnosis.rejection import is_rejection
from dbkit.embedded import EmbeddedPostgres

LOOPBACK = "127.0.0.1"


@pytest.fixture(params=[psycopg2, psycopg], ids=["psycopg2", "psycopg"])
def driver(request: pytest.FixtureRequest) -> Any:
    """Each driver."""
    return request.param


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens and nobody else will."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


def failed(driver: Any, server: EmbeddedPostgres | None = None, **arguments: Any) -> Exception:
    """What the driver raises for this connection attempt."""
    login: dict[str, Any] = {"host": LOOPBACK, "user": "u", "dbname": "d", "connect_timeout": 10}
    if server is not None:
        login |= {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        login["dbname"] = "postgres"
    with pytest.raises((driver.Error, UnicodeDecodeError)) as caught:
        driver.connect(**{**login, **arguments}).close()
    assert sqlstate(caught.value) is None, "if the driver gives it after all, the text is not needed"
    return caught.value


@contextmanager
def role(server: EmbeddedPostgres, name: str, options: str) -> Iterator[dict[str, str]]:
    server.execute(f"CREATE ROLE {name} PASSWORD 'right' {options}")
    try:
        yield {"user": name, "password": "right"}
    finally:
        server.execute(f"DROP ROLE {name}")


# ---- a real server


def test_a_rejected_login(driver: Any, server: EmbeddedPostgres) -> None:
    with role(server, "diagnosis_expired", "LOGIN VALID UNTIL '2001-01-01'") as expired:
        errors = [
            failed(driver, server, password="wrong"),
            failed(driver, server, password=""),
            failed(driver, server, user="nobody_of_that_name"),  # the server does not say who exists
            failed(driver, server, **expired),
        ]
    assert all(map(is_rejection, errors))
    assert all(map(is_refusal, errors))


def test_a_refusal_that_no_other_password_changes(driver: Any, server: EmbeddedPostgres) -> None:
    with role(server, "diagnosis_nologin", "NOLOGIN") as forbidden:
        errors = [
            failed(driver, server, **forbidden),
            failed(driver, server, dbname="password authentication failed"),
            failed(driver, server, sslmode="require"),
            failed(driver, server, options="-c no_such_setting=1"),
        ]
    assert not any(map(is_rejection, errors))
    assert all(map(is_refusal, errors))


def test_trouble_that_may_pass(driver: Any, server: EmbeddedPostgres, closed_port: int, tmp_path: Path) -> None:
    read_only = {"options": "-c default_transaction_read_only=on", "target_session_attrs": "read-write"}
    with role(server, "diagnosis_full", "LOGIN CONNECTION LIMIT 0") as full:
        errors = [
            failed(driver, server, **full),
            failed(driver, server, **read_only),
            failed(driver, server, port=closed_port),
            failed(driver, server, host=str(tmp_path)),
            failed(driver, server, host="nowhere.invalid"),
        ]
    assert not any(map(is_rejection, errors))
    assert not any(map(is_refusal, errors))


def test_wrong_settings(driver: Any, closed_port: int) -> None:
    assert is_refusal(failed(driver, port=closed_port, sslmode="bogus"))
    assert is_refusal(failed(driver, port="many"))


def test_two_hosts_of_which_one_is_up(driver: Any, server: EmbeddedPostgres, closed_port: int) -> None:
    both = {"host": f"{server.host},{server.host}", "port": f"{closed_port},{server.port}"}
    error = failed(driver, server, **both, password="wrong")
    assert "refused" in str(error)
    assert is_refusal(error)
    assert is_rejection(error)


# ---- over a wire: a scripted server


def answer(severity: str, state: str, message: str, encoding: str = "utf-8") -> bytes:
    """An ErrorResponse of the protocol."""
    fields = (b"S" + severity.encode(encoding), b"VFATAL", b"C" + state.encode(), b"M" + message.encode(encoding))
    body = b"".join(field + b"\0" for field in fields) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


@contextmanager
def scripted(reply: bytes) -> Iterator[int]:
    """Listen on the loopback address, decline TLS, answer every start-up packet with ``reply`` and hang up."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:  # closed: the test is over
                    return
                with client:
                    client.settimeout(5)
                    packet = client.recv(4096)
                    if packet[4:8] == struct.pack("!I", 80877103):
                        client.sendall(b"N")
                        packet = client.recv(4096)
                    if packet:
                        client.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        (b"", False),  # accepted, then closed
        (answer("FATAL", "57P03", "the database system is starting up"), False),
        (answer("ВАЖНО", "53300", "извините, уже слишком много клиентов"), False),
        (answer("FATAL", "3D000", 'database "the database system is starting up" does not exist'), True),
        (b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
    ],
)
def test_over_a_wire(driver: Any, reply: bytes, refused: bool) -> None:
    with scripted(reply) as port:
        assert is_refusal(failed(driver, port=port)) is refused


@pytest.mark.parametrize("encoding", ["koi8_r", "cp1251"])
def test_over_a_wire_in_an_encoding_of_the_servers_own(driver: Any, encoding: str) -> None:
    with scripted(answer("ВАЖНО", "57P03", "система баз данных запускается", encoding)) as port:
        assert not is_refusal(failed(driver, port=port))
    with scripted(answer("FATAL", "3D000", 'database "данных" does not exist', encoding)) as port:
        assert is_refusal(failed(driver, port=port))


def test_libpq_stops_at_a_refusal_and_goes_on_after_not_now(closed_port: int) -> None:
    """The rule for several hosts rests on this."""
    both = f"{LOOPBACK},{LOOPBACK}"
    with scripted(answer("FATAL", "28P01", 'password authentication failed for user "u"')) as port:
        refused = failed(psycopg2, host=both, port=f"{port},{closed_port}")
    assert "Connection refused" not in str(refused)
    assert is_refusal(refused)
    with scripted(answer("FATAL", "57P03", "the database system is starting up")) as port:
        starting = failed(psycopg2, host=both, port=f"{port},{closed_port}")
    assert "Connection refused" in str(starting)
    assert not is_refusal(starting)
