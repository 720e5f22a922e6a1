"""Is it worth trying again? Texts as libpq writes them, real servers, scripted ones, and PostgreSQL's own catalogs."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, exc

from dbkit.core.reconnecting import LONGEST_DELAY, SHORTEST_DELAY, retry_delay
from dbkit.diagnosis.outage import is_transient
from dbkit.embedded import EmbeddedPostgres
from dbkit.errors import EmbeddedServerError

from ..catalogs import catalogs, in_each_language, spoken

LOOPBACK = "127.0.0.1"
AT = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
AT_OTHER = 'connection to server at "db2" (10.0.0.2), port 5432 failed: '
ON_SOCKET = 'connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: '
UNKNOWN_HOST = 'could not translate host name "pg-0" to address: Name or service not known\n'
TCP_HINT = "\n\tIs the server running on that host and accepting TCP/IP connections?\n"
REFUSED = AT + "Connection refused" + TCP_HINT
STARTING = AT + "FATAL:  the database system is starting up\n"
WRONG_PASSWORD = AT + 'FATAL:  password authentication failed for user "u"\n'
CLOSED = AT + (
    "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
    "\tbefore or while processing the request.\n"
)


def said(text: str) -> psycopg2.OperationalError:
    return psycopg2.OperationalError(text)


def code(state: str, text: str = "") -> Exception:
    """Return an error that has a SQLSTATE, as psycopg's and asyncpg's have."""
    return type("PostgresError", (Exception,), {"sqlstate": state})(text)


def fatal(text: str) -> str:
    return f"{AT}FATAL:  {text}\n"


# ---- texts


@pytest.mark.parametrize(
    "text",
    [
        REFUSED,
        AT + "Connection reset by peer\n",
        AT + "could not receive data from server: Connection reset by peer\n",
        AT + "could not send startup packet: Broken pipe\n",
        AT + "Software caused connection abort\n",
        AT + "No route to host" + TCP_HINT,
        AT + "Network is unreachable" + TCP_HINT,
        AT + "Connection timed out" + TCP_HINT,
        AT + "timeout expired\n",
        AT + "Connection refused (0x0000274D/10061)" + TCP_HINT,
        CLOSED,
        AT + "SSL connection has been closed unexpectedly\n",
        AT + "SSL SYSCALL error: EOF detected\n",
        AT + "could not fork new process for connection: Resource temporarily unavailable\n",
        ON_SOCKET + "No such file or directory\n\tIs the server running locally and accepting connections?\n",
        ON_SOCKET + "Connection refused\n\tIs the server running locally and accepting connections?\n",
        ON_SOCKET + "Resource temporarily unavailable\n",
        STARTING,
        fatal("the database system is shutting down"),
        fatal("the database system is in recovery mode"),
        fatal("the database system is not yet accepting connections\nDETAIL:  Consistent recovery state has not been."),
        fatal("the database system is not accepting connections\nDETAIL:  Hot standby mode is disabled."),
        fatal("sorry, too many clients already"),
        fatal("remaining connection slots are reserved for roles with the SUPERUSER attribute"),
        fatal("remaining connection slots are reserved for non-replication superuser connections"),
        fatal('too many connections for role "app"'),
        fatal('too many connections for database "app"'),
        fatal("terminating connection due to administrator command"),
        fatal("canceling authentication due to timeout"),
        AT + "session is read-only\n",
        AT + "server is in hot standby mode\n",
        AT + "server is not in hot standby mode\n",
        'could not translate host name "db" to address: Temporary failure in name resolution\n',
        # libpq before 14
        'could not connect to server: Connection refused\n\tIs the server running on host "db" and accepting\n',
        "could not connect to server: No such file or directory\n\tIs the server running locally and accepting\n"
        '\tconnections on Unix domain socket "/tmp/.s.PGSQL.5432"?\n',
        "FATAL:  the database system is starting up\n",
        "timeout expired\n",
        "FATAL:  the database system is not accepting connections\nDETAIL:  Hot standby mode is disabled.\n",
        # poolers
        "ERROR:  no more connections allowed (max_client_conn)\n",
        fatal("query_wait_timeout"),
        fatal("server login has been failing, try again later (server_login_retry)"),
        fatal("server login has been failing, cached error: (server_login_retry)"),
        fatal("server login has been failing, cached error: connect failed (server_login_retry)"),
        fatal("server login has been failing, cached error: the database system is starting up (server_login_retry)"),
        fatal("Max client connections reached"),
    ],
)
def test_what_may_pass(text: str) -> None:
    assert is_transient(said(text))


@pytest.mark.parametrize(
    "text",
    [
        WRONG_PASSWORD,
        fatal('no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption'),
        fatal('database "d" does not exist'),
        fatal('role "u" does not exist'),
        fatal('role "u" is not permitted to log in'),
        fatal('permission denied for database "d"\nDETAIL:  User does not have CONNECT privilege.'),
        fatal('database "d" is not currently accepting connections'),
        fatal('unrecognized configuration parameter "x"'),
        AT + "server does not support SSL, but SSL was required\n",
        AT + "SSL error: certificate verify failed\n",
        AT + 'server certificate for "other" does not match host name "db"\n',
        AT + 'root certificate file "/root.crt" does not exist\n',
        AT + "fe_sendauth: no password supplied\n",
        AT + "expected authentication request from server, but received H\n",
        AT + "No such file or directory\n",
        ON_SOCKET + "Permission denied\n",
        'could not read certificate file "/c.crt": No such file or directory\n',
        UNKNOWN_HOST,
        'invalid sslmode value: "Connection refused"\n',
        'definition of service "nosuch" not found\n',
        'invalid integer value "abc" for connection option "port"\n',
        'FATAL:  password authentication failed for user "u"\nDETAIL:  the database system is starting up\n',
        fatal("server login has been failing, cached error: password authentication failed (server_login_retry)"),
        # Advice and names that look like what may pass
        AT + "SSL error: tlsv1 alert unknown ca\nhint: timeout expired\n",
        AT + 'server certificate for "x: timeout expired" does not match host name "db"\n',
        fatal('database "the database system is starting up" does not exist'),
        fatal('database "FATAL:  sorry, too many clients already" does not exist'),
        fatal('role "x: Connection refused" does not exist'),
        fatal('role "FATAL:  x: timeout expired" does not exist'),
        'could not translate host name "FATAL:  query_wait_timeout" to address: Name or service not known\n',
        'could not translate host name "x: timeout expired" to address: Name or service not known\n',
        "something nobody has ever seen",
        "",
    ],
)
def test_what_will_not_pass(text: str) -> None:
    assert not is_transient(said(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REFUSED + AT_OTHER + "timeout expired\n", True),
        (REFUSED + AT_OTHER + "session is read-only\n", True),  # a failover under way
        (STARTING + AT_OTHER + "Connection refused" + TCP_HINT, True),
        # The one that is up has said no, and libpq stopped there
        (REFUSED + AT_OTHER + 'FATAL:  password authentication failed for user "u"\n', False),
        (REFUSED + AT_OTHER + "SSL error: certificate verify failed\n", False),
        # A host without a name, an address family or a permission was only not reached
        (UNKNOWN_HOST + AT_OTHER + "Connection refused" + TCP_HINT, True),
        (REFUSED + UNKNOWN_HOST, True),
        (REFUSED + AT_OTHER + "could not create socket: Address family not supported by protocol\n", False),
        (REFUSED + AT_OTHER + "Address family not supported by protocol\n", True),
        (UNKNOWN_HOST + AT_OTHER + 'FATAL:  role "u" does not exist\n', False),
        # One address asked twice, over TLS and without: it is the full one that will have room
        (fatal("no pg_hba.conf entry for host, SSL encryption") + fatal("sorry, too many clients already"), True),
        (fatal("sorry, too many clients already") + fatal("no pg_hba.conf entry for host, no encryption"), True),
        (fatal("no pg_hba.conf entry, SSL encryption") + fatal("no pg_hba.conf entry, no encryption"), False),
        # libpq before 14
        ("could not connect to server: Connection refused\n\tIs it?\nFATAL:  password authentication failed\n", False),
        (
            "could not connect to server: Connection refused\n\tIs it?\ncould not connect to server: No route to host",
            True,
        ),
    ],
)
def test_several_hosts(text: str, expected: bool) -> None:
    assert is_transient(said(text)) is expected


# ---- other errors


@pytest.mark.parametrize("state", ["08001", "08006", "25006", "53300", "57P01", "57P03"])
def test_a_sqlstate_is_believed_before_the_text(state: str) -> None:
    assert is_transient(code(state, "password authentication failed"))


@pytest.mark.parametrize("state", ["28P01", "28000", "3D000", "42501", "42601", "XX000"])
def test_a_permanent_sqlstate(state: str) -> None:
    assert not is_transient(code(state, fatal("the database system is starting up")))


def test_pgbouncer_says_everything_with_one_sqlstate() -> None:
    assert is_transient(code("08P01", fatal("no more connections allowed (max_client_conn)")))
    assert not is_transient(code("08P01", fatal("no such database: app")))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), True),
        (ConnectionResetError("x"), True),
        (BrokenPipeError("x"), True),
        (TimeoutError("x"), True),
        (OSError(errno.EHOSTUNREACH, "x"), True),
        (OSError(errno.ENETUNREACH, "x"), True),
        (FileNotFoundError(errno.ENOENT, "x"), True),  # socket.connect names no file
        (FileNotFoundError(errno.ENOENT, "x", "root.crt"), False),
        (PermissionError(errno.EACCES, "x"), False),
        (OSError(errno.EMFILE, "x"), False),
        (socket.gaierror(socket.EAI_AGAIN, "x"), True),
        (socket.gaierror(socket.EAI_NONAME, "x"), False),
        (TypeError("timeout expired"), False),
        (RuntimeError(REFUSED), False),
        (psycopg2.ProgrammingError("timeout expired"), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), False),
    ],
)
def test_other_exceptions(error: BaseException, expected: bool) -> None:
    assert is_transient(error) is expected


def test_what_an_error_wraps() -> None:
    assert is_transient(exc.OperationalError("", None, said(REFUSED)))
    assert not is_transient(exc.OperationalError("", None, said(WRONG_PASSWORD)))
    outer = RuntimeError("no token")
    outer.__cause__ = ConnectionResetError()
    assert is_transient(outer)
    refused = said(WRONG_PASSWORD)
    refused.__cause__ = ConnectionResetError()
    assert not is_transient(refused)


def test_errors_that_cause_each_other_end() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert not is_transient(first)


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_transient(said(text)) in (True, False)


@given(st.text(st.characters(exclude_characters='"\n\r\0')))
def test_no_database_name_passes_for_an_outage(name: str) -> None:
    assert not is_transient(said(f'{AT}FATAL:  database "{name}" does not exist\n'))


# ---- languages


@pytest.mark.parametrize(
    "answer",
    [
        "FATAL:  das Datenbanksystem fährt herunter",
        "FATAL:  das Datenbanksystem f?hrt herunter",
        "FATAL:  tut mir leid, schon zu viele Verbindungen",
        "FATAL:  désolé, trop de clients sont déjà connectés",
        "FATAL:  le syst?me de base de donn?es s'arr?te",
        "FATAL:  lo siento, ya tenemos demasiados clientes",
        'FATALE:  troppe connessioni per il ruolo "x"',
        "FATAL:  o sistema de banco de dados está iniciando",
        "FATAL:  przepraszamy, mamy już zbyt wiele klientów",
        "FATALT:  databassystemet startar upp",
        "ВАЖНО:  извините, уже слишком много клиентов",
        'VAZHNO:  slishkom mnogo podklyuchenij dlya roli "x"',
        "ФАТАЛЬНО:  система бази даних запускається",
        "FATAL:  データベースシステムは起動処理中です",
        'FATAL:  ロール"x"からの接続が多すぎます',
        '치명적오류:  "x" 롤의 최대 동시 접속수를 초과했습니다',
        "致命错误:  数据库系统启动中",
    ],
)
def test_a_server_that_speaks_another_language(answer: str) -> None:
    assert is_transient(said(AT + answer + "\n"))


@pytest.mark.parametrize(
    "answer",
    [
        "FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen",
        "FATAL:  la base de données « d » n'existe pas",
        'ВАЖНО:  пользователь "u" не прошёл проверку подлинности (по паролю)',
        'FATAL:  ユーザー"u"のパスワード認証に失敗しました',
        '致命错误:  用户 "u" Password 认证失败',
        "FATAL:  ??? ????? ???????",
    ],
)
def test_a_refusal_in_another_language(answer: str) -> None:
    assert not is_transient(said(AT + answer + "\n"))


def test_a_libpq_that_speaks_german() -> None:
    prefix = "Verbindung zum Server auf »db« (10.0.0.1), Port 5432 fehlgeschlagen: "
    refusal = prefix + "FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen\n"
    assert is_transient(said(prefix + "Server beendete die Verbindung unerwartet\n\tDas heißt wahrscheinlich ...\n"))
    assert is_transient(said(prefix + "FATAL:  das Datenbanksystem startet\nDETAIL:  gleich\n"))
    assert not is_transient(said(refusal))
    assert not is_transient(said(prefix + "Timeout abgelaufen\n" + refusal))


PASSING_MESSAGES = (
    "the database system is starting up",
    "the database system is shutting down",
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
    "the database system is not accepting connections",
    "sorry, too many clients already",
    'too many connections for role "%s"',
    'too many connections for database "%s"',
    "remaining connection slots are reserved for non-replication superuser connections",
    "canceling authentication due to timeout",
    "terminating connection due to administrator command",
    "terminating connection because of crash of another server process",
)
REFUSING_MESSAGES = (
    'password authentication failed for user "%s"',
    'role "%s" does not exist',
    'database "%s" does not exist',
    'role "%s" is not permitted to log in',
    'permission denied for database "%s"',
    'no pg_hba.conf entry for host "%s", user "%s", database "%s", %s',
    'database "%s" is not currently accepting connections',
)


@in_each_language
def test_postgresqls_own_translations(path: Path) -> None:
    assert [text for text in spoken(path, PASSING_MESSAGES) if not is_transient(said(AT + text))] == []
    assert [text for text in spoken(path, REFUSING_MESSAGES) if is_transient(said(AT + text))] == []


def test_system_errors_in_the_language_of_this_process() -> None:
    """The C library's translations are real ones: a process of its own speaks German."""
    program = (
        "import locale, os, errno; locale.setlocale(locale.LC_ALL, 'C.UTF-8')\n"
        "import psycopg2; from dbkit.diagnosis.outage import is_transient\n"
        "print(os.strerror(errno.ECONNREFUSED))\n"
        "print(locale.dgettext('libc', 'Temporary failure in name resolution'))\n"
        "try: psycopg2.connect(host='127.0.0.1', port=1, connect_timeout=5)\n"
        "except psycopg2.OperationalError as error: print(is_transient(error), 'refused' in str(error))\n"
        "text = locale.dgettext('libc', 'Temporary failure in name resolution')\n"
        "error = psycopg2.OperationalError('could not translate host name \"x\" to address: ' + text)\n"
        "print(is_transient(error))\n"
    )
    env = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "de", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30)
    lines = done.stdout.splitlines()
    if lines[:1] == ["Connection refused"] or "unsupported locale" in done.stderr:
        pytest.skip("the C library's German messages, or the locale C.UTF-8, are not installed on this machine")
    assert lines[2:] == ["True False", "True"], (lines, done.stderr)


# ---- over a wire: a scripted server


def answer(severity: str, state: str, message: str, encoding: str = "utf-8") -> bytes:
    """Return an ErrorResponse of the protocol."""
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
            thread.join(10)
            assert not thread.is_alive()


def failed(**arguments: Any) -> Exception:
    """Return what psycopg2 raises for this connect."""
    given_arguments = {"host": LOOPBACK, "user": "u", "dbname": "d", "connect_timeout": 5, **arguments}
    try:
        psycopg2.connect(**given_arguments).close()
    except (psycopg2.Error, UnicodeDecodeError) as error:
        return error
    pytest.fail("this connect should have failed")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port where nobody listens and nobody else will."""
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", True),  # accepted, then closed
        (answer("FATAL", "57P03", "the database system is starting up"), True),
        (answer("ВАЖНО", "53300", "извините, уже слишком много клиентов"), True),
        (answer("ВАЖНО", "28P01", 'пользователь "u" не прошёл проверку подлинности (по паролю)'), False),
        (b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
    ],
)
def test_over_a_wire(reply: bytes, expected: bool) -> None:
    with scripted(reply) as port:
        error = failed(port=port)
    assert getattr(error, "pgcode", None) is None, "if psycopg2 gives it after all, the text is not needed"
    assert is_transient(error) is expected


@pytest.mark.parametrize("encoding", ["koi8_r", "cp1251", "iso8859_5"])
def test_over_a_wire_in_an_encoding_of_the_servers_own(encoding: str) -> None:
    with scripted(answer("ВАЖНО", "57P03", "система баз данных запускается", encoding)) as port:
        error = failed(port=port)
    assert isinstance(error, UnicodeDecodeError)
    assert is_transient(error)
    with scripted(answer("ВАЖНО", "3D000", 'база данных "d" не существует', encoding)) as port:
        assert not is_transient(failed(port=port))


def test_two_hosts_over_a_wire(closed_port: int) -> None:
    """The rule for several hosts rests on what libpq does: it goes on after "not now", and stops at a refusal."""
    both = f"{LOOPBACK},{LOOPBACK}"
    with scripted(answer("FATAL", "28P01", 'password authentication failed for user "u"')) as port:
        second = failed(host=both, port=f"{closed_port},{port}")
        first = failed(host=both, port=f"{port},{closed_port}")
    assert "refused" in str(second)
    assert not is_transient(second)
    assert "refused" not in str(first), "libpq asked the next host after a refusal"
    assert not is_transient(first)
    with scripted(answer("FATAL", "57P03", "the database system is starting up")) as port:
        starting = failed(host=both, port=f"{port},{closed_port}")
    assert "refused" in str(starting)
    assert is_transient(starting)
    assert is_transient(failed(host=f"nowhere.invalid,{LOOPBACK}", port=f"{closed_port},{closed_port}"))


def test_nobody_there(closed_port: int, tmp_path: Path) -> None:
    assert is_transient(failed(port=closed_port))
    assert is_transient(failed(host=str(tmp_path), port=closed_port))


def test_wrong_settings(closed_port: int) -> None:
    assert not is_transient(failed(port=closed_port, sslmode="bogus"))
    assert not is_transient(failed(port=closed_port, target_session_attrs="bogus"))
    assert not is_transient(failed(port="many"))


# ---- over a wire: a real server


def server_says(server: EmbeddedPostgres, **arguments: Any) -> Exception:
    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    return failed(**{**login, "dbname": "postgres", **arguments})


def test_a_real_servers_refusals(server: EmbeddedPostgres) -> None:
    assert not is_transient(server_says(server, password="wrong"))
    assert not is_transient(server_says(server, user="nobody_of_that_name"))
    assert not is_transient(server_says(server, dbname="no_such_database"))
    assert not is_transient(server_says(server, sslmode="require"))
    assert not is_transient(server_says(server, options="-c no_such_setting=1"))


def test_a_real_server_that_is_full(server: EmbeddedPostgres) -> None:
    server.execute("CREATE ROLE outage_limited LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
    try:
        assert is_transient(server_says(server, user="outage_limited", password="x"))
    finally:
        server.execute("DROP ROLE outage_limited")


def test_a_real_server_that_is_read_only(server: EmbeddedPostgres) -> None:
    error = server_says(server, options="-c default_transaction_read_only=on", target_session_attrs="read-write")
    assert is_transient(error)


def test_through_sqlalchemy(server: EmbeddedPostgres) -> None:
    engine = create_engine(server.url("no_such_database").replace("postgresql:", "postgresql+psycopg2:"))
    with pytest.raises(exc.OperationalError) as caught:
        engine.connect()
    assert not is_transient(caught.value)


def german_binaries(folder: Path) -> Path:
    """Return a folder of PostgreSQL's programs whose ``postgres`` speaks German, or skip."""
    for path in catalogs():
        programs = Path("/usr/lib/postgresql") / path.stem.partition("-")[2] / "bin"
        if path.parts[-3] == "de" and (programs / "initdb").exists():
            break
    else:
        pytest.skip("no installed PostgreSQL with its German messages (the embedded one has none)")
    for program in programs.iterdir():
        if program.name != "postgres":
            (folder / program.name).symlink_to(program)
    starter = folder / "postgres"
    starter.write_text(f'#!/bin/sh\nLANGUAGE=de exec {programs}/postgres "$@"\n')
    starter.chmod(0o755)
    return folder


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.01)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that other accounts may read: run by root, the server has an account of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_real_server_that_speaks_german(open_folder: Path) -> None:
    try:
        german = EmbeddedPostgres.start(binaries=german_binaries(open_folder), settings={"lc_messages": "C.UTF-8"})
    except EmbeddedServerError as error:
        pytest.skip(f"the installed PostgreSQL does not start here: {error}")
    with german:
        german.execute("CREATE ROLE limited LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
        full = server_says(german, user="limited", password="x")
        if "zu viele" not in str(full):
            pytest.skip("the C library has no locale in which the server would speak German")
        assert is_transient(full)
        assert not is_transient(server_says(german, password="wrong"))
        assert not is_transient(server_says(german, dbname="nirgends"))
        login = {"host": german.host, "port": german.port, "user": german.user, "password": german.password}
        with closing(psycopg2.connect(**login, dbname="postgres")):
            assert german.pid is not None
            os.kill(german.pid, signal.SIGTERM)  # a smart shutdown: it waits for us, and takes nobody new

            def shutting_down() -> bool:
                try:
                    psycopg2.connect(**login, dbname="postgres", connect_timeout=5).close()
                except psycopg2.OperationalError as error:
                    assert is_transient(error)
                    return "das Datenbanksystem" in str(error)
                return False

            until(shutting_down)


# ---- how long to wait


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_delay_stays_within_its_bounds(failures: int, jitter: float) -> None:
    assert SHORTEST_DELAY <= retry_delay(failures, jitter) <= LONGEST_DELAY


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_delay_grows_with_failures_and_with_jitter(failures: int, jitter: float) -> None:
    assert retry_delay(failures, 0.0) <= retry_delay(failures, jitter) <= retry_delay(failures + 1, jitter)


def test_the_delay_doubles_up_to_its_cap() -> None:
    delays = [retry_delay(failures, 0.0) for failures in range(1, 9)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5, 2.5])
    assert retry_delay(1, 0.5) == pytest.approx(0.15)
    assert retry_delay(50, 0.99) == pytest.approx(4.975)


@pytest.mark.parametrize(
    ("failures", "jitter", "named"),
    [(0, 0.5, "failures"), (-1, 0.5, "failures"), (1, 1.0, "jitter"), (1, -0.1, "jitter"), (1, float("nan"), "jitter")],
)
def test_bad_arguments_are_refused(failures: int, jitter: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        retry_delay(failures, jitter)
