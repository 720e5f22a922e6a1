"""Is a failed connection attempt a refusal? Texts as libpq writes them, and every other kind of error. Pure."""

from __future__ import annotations

import errno
import socket
import ssl

import psycopg
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc

from dbkit.credentials import CredentialError
from dbkit.diagnosis.outage import is_refusal
from dbkit.errors import Fault, SettingsError

from .texts import (
    AT,
    AT_OTHER,
    CACHED,
    FULL,
    NO_ENTRY,
    NO_HOST,
    NOT_REACHED,
    ON_SOCKET,
    STARTING,
    WRONG,
    code,
    fatal,
    said,
)  # fmt: skip

# ---- refused


@pytest.mark.parametrize(
    "answer",
    [
        'password authentication failed for user "u"',
        'LDAP authentication failed for user "u"',
        "SASL authentication failed",
        'no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption',
        'pg_hba.conf rejects connection for host "10.0.0.9", user "u", database "d", no encryption',
        'database "d" does not exist',
        'database "d" is not currently accepting connections',
        'role "u" does not exist',
        'role "u" is not permitted to log in',
        'permission denied for database "d"\nDETAIL:  User does not have CONNECT privilege.',
        'unrecognized configuration parameter "x"',
        'invalid value for parameter "work_mem": "much"',
        "connection requires a valid client certificate",
        "The access token has expired. Please acquire a new token and retry.",
        "no such database: app",
        "unsupported startup parameter: x",
        f"{CACHED}password authentication failed (server_login_retry)",
    ],
)
def test_a_server_that_refuses(answer: str) -> None:
    assert is_refusal(fatal(answer))
    assert is_refusal(said(f"FATAL:  {answer}\n")), "libpq before 14"
    assert is_refusal(psycopg.OperationalError(f"connection failed: {AT}FATAL:  {answer}"))


@pytest.mark.parametrize(
    "text",
    [
        AT + "server does not support SSL, but SSL was required\n",
        AT + "SSL error: certificate verify failed\n",
        AT + "SSL error: tlsv1 alert unknown ca\n",
        AT + 'server certificate for "other" does not match host name "db"\n',
        AT + 'server certificate for "other" (and 2 other names) does not match host name "db"\n',
        AT + 'root certificate file "/root.crt" does not exist\n',
        AT + "fe_sendauth: no password supplied\n",
        'could not read certificate file "/c.crt": No such file or directory\n',
        'invalid sslmode value: "Connection refused"\n',
        'connection is bad: invalid sslmode value: "bogus"',
        'invalid integer value "abc" for connection option "port"\n',
        'definition of service "nosuch" not found\n',
    ],
)
def test_a_client_that_refuses(text: str) -> None:
    assert is_refusal(said(text))


# ---- anything else may pass


@pytest.mark.parametrize(
    "text",
    [
        AT + NOT_REACHED,
        AT + "Connection reset by peer\n",
        AT + "could not receive data from server: Connection reset by peer\n",
        AT + "No route to host\n",
        AT + "timeout expired\n",
        AT + "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n",
        AT + "SSL connection has been closed unexpectedly\n",
        AT + "SSL error: unexpected eof while reading\n",
        AT + "could not fork new process for connection: Resource temporarily unavailable\n",
        AT + "expected authentication request from server, but received H\n",  # a load balancer's page
        AT + "session is read-only\n",
        AT + "server is in hot standby mode\n",
        ON_SOCKET + "No such file or directory\n\tIs the server running locally and accepting connections?\n",
        NO_HOST,
        'could not translate host name "db" to address: Temporary failure in name resolution\n',
        'could not connect to server: Connection refused\n\tIs the server running on host "db" and accepting\n',
        "failed to resolve host 'db': [Errno -2] Name or service not known",
        "connection timeout expired",
        AT + STARTING,
        AT + FULL,
        AT + "FATAL:  the database system is not accepting connections\nDETAIL:  Hot standby mode is disabled.\n",
        AT + 'FATAL:  too many connections for role "app"\n',
        AT + "FATAL:  terminating connection due to administrator command\n",
        AT + f"FATAL:  {CACHED}connect failed (server_login_retry)\n",
        "ERROR:  no more connections allowed (max_client_conn)\n",
        "something nobody has ever seen",
        "",
    ],
)
def test_trouble_that_may_pass(text: str) -> None:
    assert not is_refusal(said(text))


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  das Datenbanksystem fährt herunter",
        "FATAL:  désolé, trop de clients sont déjà connectés",
        "ВАЖНО:  извините, уже слишком много клиентов",
        "FATAL:  データベースシステムは起動処理中です",
        "致命错误:  数据库系统启动中",
        "FATAL:  ??? ????? ???????",
        "Server beendete die Verbindung unerwartet",
    ],
)
def test_trouble_in_any_language_may_pass(text: str) -> None:
    assert not is_refusal(said(AT + text + "\n"))
    assert not is_refusal(said(f"Verbindung zum Server auf »db«, Port 5432 fehlgeschlagen: {text}\n"))


@pytest.mark.parametrize(("text", "refused"), [("пользователь", False), ('role "ю" does not exist', True)])
def test_a_server_that_answers_in_an_encoding_of_its_own(text: str, refused: bool) -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        f"{AT}FATAL:  {text}\n".encode("koi8_r").decode()
    assert is_refusal(caught.value) is refused


# ---- several attempts


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (AT + NOT_REACHED + AT_OTHER + "timeout expired\n", False),
        (AT + NOT_REACHED + AT_OTHER + "session is read-only\n", False),  # a failover under way
        (AT + STARTING + AT_OTHER + NOT_REACHED, False),
        # The one that is up has refused, and libpq stopped there
        (AT + NOT_REACHED + AT_OTHER + WRONG, True),
        (AT + NOT_REACHED + AT_OTHER + "SSL error: certificate verify failed\n", True),
        (NO_HOST + AT_OTHER + WRONG, True),
        (NO_HOST + AT_OTHER + NOT_REACHED, False),
        # One address asked with TLS and then without: the full one will have room
        (AT + NO_ENTRY + AT + FULL, False),
        (AT + FULL + AT + NO_ENTRY, False),
        (AT + WRONG + AT + NO_ENTRY, True),
        (AT + "GSSAPI continuation error: No credentials were supplied\n" + AT + WRONG, True),
        # libpq before 14
        (f"could not connect to server: {NOT_REACHED}{WRONG}", True),
        (f"could not connect to server: {NOT_REACHED}could not connect to server: {NOT_REACHED}", False),
    ],
)
def test_several_attempts(text: str, refused: bool) -> None:
    assert is_refusal(said(text)) is refused


def test_several_attempts_as_psycopg_3_tells_them() -> None:
    lines = [f"connection failed: {AT_OTHER}{WRONG}Multiple connection attempts failed. All failures were:"]
    lines += [f"- host: 'db', port: '5432', hostaddr: '10.0.0.1': connection failed: {AT}Connection refused"]
    assert not is_refusal(psycopg.OperationalError("\n".join(lines).replace(WRONG, NOT_REACHED)))
    assert is_refusal(psycopg.OperationalError("\n".join(lines)))


# ---- names


@pytest.mark.parametrize(
    "text",
    [
        f'{AT}FATAL:  database "the database system is starting up" does not exist\n',
        f'{AT}FATAL:  role "FATAL:  sorry, too many clients already" does not exist\n',
        'FATAL:  role "x: timeout expired" does not exist\n',
        f'{AT}server certificate for "{AT}FATAL:  the database system is" does not match host name "db"\n',
    ],
)
def test_no_name_passes_for_an_outage(text: str) -> None:
    assert is_refusal(said(text))


@pytest.mark.parametrize(
    "text",
    [
        'could not translate host name "FATAL:  password authentication failed" to address: No address\n',
        f'{AT}FATAL:  too many connections for database "password authentication failed for user"\n',
        f"{AT}{NOT_REACHED}\tsettings: FATAL:  password authentication failed\n",
        f"timeout expired\n\tFATAL:  password authentication failed\n\t{AT}{WRONG}",
    ],
)
def test_no_name_passes_for_a_refusal(text: str) -> None:
    assert not is_refusal(said(text))


@given(st.text(st.characters(exclude_characters='"\n\r\0')))
def test_any_name_may_be_missing_or_full(name: str) -> None:
    assert is_refusal(fatal(f'database "{name}" does not exist'))
    assert not is_refusal(fatal(f'too many connections for database "{name}"'))


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_refusal(said(text)) in (True, False)


# ---- a SQLSTATE


@pytest.mark.parametrize("state", ["28P01", "28000", "3D000", "42501", "42704", "22023", "0A000"])
def test_a_sqlstate_that_refuses(state: str) -> None:
    assert is_refusal(code(state, STARTING))


@pytest.mark.parametrize(("state", "refuses"), [("28P01", True), ("53300", False)])
def test_a_sqlstate_among_the_servers_own_fields_as_pg8000_keeps_it(state: str, refuses: bool) -> None:
    error = type("DatabaseError", (Exception,), {})({"S": "FATAL", "C": state, "M": "as the server says it"})
    assert is_refusal(error) is refuses


@pytest.mark.parametrize("state", ["25006", "53300", "57P01", "57P03", "58000"])
def test_a_sqlstate_that_may_pass(state: str) -> None:
    assert not is_refusal(code(state, WRONG))


@pytest.mark.parametrize("state", ["08P01", "08006", "XX000"])
def test_a_sqlstate_that_poolers_use_for_everything_leaves_it_to_the_text(state: str) -> None:
    assert not is_refusal(code(state, "no more connections allowed (max_client_conn)"))
    assert not is_refusal(code(state, "connection was closed in the middle of operation"))
    assert is_refusal(code(state, "no such database: app"))
    assert is_refusal(code(state, WRONG))


# ---- other errors


class TheirOwn(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "x"),
        BrokenPipeError("x"),
        TimeoutError(),
        OSError(errno.EHOSTUNREACH, "x"),
        OSError(errno.EMFILE, "x"),
        FileNotFoundError(errno.ENOENT, "x"),  # a socket: connect() names no file
        socket.gaierror(socket.EAI_AGAIN, "x"),
        socket.gaierror(socket.EAI_NONAME, "x"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        OSError("Multiple exceptions: [Errno 111] Connect call failed"),  # asyncio's, for a name with several addresses
        psycopg2.InterfaceError("x"),
    ],
)
def test_an_error_of_the_outside_world_may_pass(error: BaseException) -> None:
    assert not is_refusal(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "x", "root.crt"),
        ssl.SSLCertVerificationError(1, "certificate verify failed"),
        TypeError("timeout expired"),
        RuntimeError(AT + NOT_REACHED),
        psycopg2.ProgrammingError('invalid dsn: invalid connection option "x"'),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        SettingsError([Fault("sslmode", "no token is sent")]),
        exc.ArgumentError("x"),
        TheirOwn("x"),
        KeyboardInterrupt(),
        SystemExit(),
    ],
)
def test_an_error_that_is_no_servers_doing_is_a_refusal(error: BaseException) -> None:
    assert is_refusal(error)


@pytest.mark.parametrize(
    ("cause", "refused"),
    [
        (None, True),
        (RuntimeError("no identity"), True),
        (OSError("the vault is sealed"), True),
        (TheirOwn("403"), True),
        (TimeoutError("no answer within 10 s"), False),
        (OSError(errno.ENETUNREACH, "x"), False),
        (said(AT + NOT_REACHED), False),  # a password that is kept in another database
        (said(AT + WRONG), True),
    ],
)
def test_no_token_to_be_had_may_pass_only_where_its_provider_was_not_reached(
    cause: BaseException | None, refused: bool
) -> None:
    assert is_refusal(CredentialError("Provider failed", cause)) is refused


def test_an_error_that_wraps_another() -> None:
    assert not is_refusal(exc.OperationalError("", None, said(AT + NOT_REACHED)))
    assert is_refusal(exc.OperationalError("", None, said(AT + WRONG)))
    outer = RuntimeError("no connection")
    outer.__cause__ = ConnectionResetError()
    assert not is_refusal(outer)
    refused = said(AT + WRONG)
    refused.__cause__ = ConnectionResetError()
    assert is_refusal(refused)


def test_errors_that_cause_each_other_end() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert is_refusal(first)
    wrapper = exc.OperationalError("", None, first)
    first.orig = wrapper  # type: ignore[attr-defined]
    assert is_refusal(wrapper) in (True, False)
