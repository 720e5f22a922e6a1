"""Was the login refused? Texts as libpq writes them, and a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, exc

from dbkit.diagnosis.outage import is_transient
from dbkit.diagnosis.rejection import is_rejection
from dbkit.embedded import EmbeddedPostgres

AT = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
AT_OTHER = 'connection to server at "db2" (10.0.0.2), port 5432 failed: '
WRONG = 'FATAL:  password authentication failed for user "u"\n'
NO_ENTRY = 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption\n'
REFUSED = "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n"
CACHED = "server login has been failing, cached error: "


def said(text: str) -> psycopg2.OperationalError:
    return psycopg2.OperationalError(text)


def fatal(text: str) -> psycopg2.OperationalError:
    return said(f"{AT}FATAL:  {text}\n")


def code(state: str, text: str = "") -> Exception:
    """Return an error that has a SQLSTATE, as psycopg's and asyncpg's have."""
    return type("PostgresError", (Exception,), {"sqlstate": state})(text)


# ---- texts


@pytest.mark.parametrize(
    "answer",
    [
        # PostgreSQL
        'password authentication failed for user "u"',
        'PAM authentication failed for user "u"',
        'LDAP authentication failed for user "u"',
        'RADIUS authentication failed for user "u"',
        'GSSAPI authentication failed for user "u"',
        'SSPI authentication failed for user "u"',
        'BSD authentication failed for user "u"',
        'Peer authentication failed for user "u"',
        'Ident authentication failed for user "u"',
        'certificate authentication failed for user "u"',
        'OAuth bearer authentication failed for user "u"',
        '"trust" authentication failed for user "u"',
        'authentication failed for user "u": invalid authentication method',
        "empty password returned by client",
        # Azure
        "The access token has expired. Please acquire a new token and retry.",
        "The access token has expired. Acquire a new token and try again.",
        "The access token has invalid format. Please ensure the token is passed exactly as returned.",
        'The access token does not have a valid audience claim. Please acquire a new token for the resource "https://x".',
        "An error occurred while validating the access token. Please acquire a new token and retry.",
        "Azure AD access token not valid for role group-writers (does not contain group ID 0-0-0)",
        "Azure AD user token for role[admin] is neither an AAD_AUTH_TOKENTYPE_APP_USER or an APP_OBO token.",
        'Microsoft Entra user token for role "admin" is neither an AAD_AUTH_TOKENTYPE_APP_USER or an APP_OBO token.',
        # AWS: RDS Proxy, Aurora DSQL
        "IAM authentication failed for user u. Check the IAM token for this user and try again.",
        "The IAM authentication failed for the role u. Check the IAM token for this role and try again.",
        "The password that was provided for the role u is wrong.",
        "unable to accept connection, access denied\nHINT:  Signature expired",
        # Google
        'Cloud SQL IAM user authentication failed for user "u@example.com"',
        'Cloud SQL IAM service account authentication failed for user "u@project.iam"',
        'AlloyDB IAM user authentication failed for user "u@example.com"',
        "password authentication failed for IAM user",
        # Lakebase, Neon
        "Provided authentication token is not a valid JWT encoding",
        "password authentication failed for user 'u'",
        # poolers
        "password authentication failed",
        "SASL authentication failed",
        "PAM authentication failed",
        "Auth failed",
        f'{CACHED}password authentication failed for user "u" (server_login_retry)',
        f"{CACHED}The access token has expired. (server_login_retry)",
        "md5 authentication failed\nDETAIL:  password does not match",
        "SCRAM authentication failed",
        "odyssey: c890e71787623: incorrect password",
        'odyssey: c890e71787623: password authentication failed for user "u"',
        # What cannot be read
        '??? "u"? password ??? ??????',
        'PAM ?????????????? ???????????????? "u" ??? ????????',
    ],
)
def test_what_is_a_rejection(answer: str) -> None:
    assert is_rejection(fatal(answer))
    assert is_rejection(said(f"FATAL:  {answer}\n")), "libpq before 14"
    assert not is_transient(fatal(answer)), "retrying with the same secret would do, then"


@pytest.mark.parametrize(
    "answer",
    [
        # The secret was believed, or never asked for
        'role "u" does not exist',
        'role "u" is not permitted to log in',
        'no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption',
        'pg_hba.conf rejects connection for host "10.0.0.9", user "u", database "d", no encryption',
        "connection requires a valid client certificate",
        'database "d" does not exist',
        'permission denied for database "d"\nDETAIL:  User does not have CONNECT privilege.',
        "sorry, too many clients already",
        'too many connections for role "u"',
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "the database system is starting up",
        "terminating connection due to administrator command",
        "canceling authentication due to timeout",
        'unrecognized configuration parameter "x"',
        # clouds and poolers
        "The IAM authentication failed because of too many competing requests.",
        "IAM authentication is allowed only with SSL connections.",
        "This RDS proxy has no credentials for the role u. Check the credentials for this role and try again.",
        "Tenant or user not found",
        "no such user",
        f"{CACHED}connect failed (server_login_retry)",
        f"{CACHED}(server_login_retry)",
        "no more connections allowed (max_client_conn)",
        # Names that look like a rejection
        'database "password authentication failed" does not exist',
        'database "FATAL:  password authentication failed for user" does not exist',
        'role "??" is not permitted to log in',
        'database "d" does not exist\nDETAIL:  password authentication failed for user "u"',
    ],
)
def test_what_is_not(answer: str) -> None:
    assert not is_rejection(fatal(answer))


@pytest.mark.parametrize(
    "text",
    [
        AT + REFUSED,
        AT + "timeout expired\n",
        AT + "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n",
        AT + "server does not support SSL, but SSL was required\n",
        AT + "SSL error: certificate verify failed\n",
        AT + 'server certificate for "password authentication failed" does not match host name "db"\n',
        AT + "could not verify server signature\n",
        AT + "session is read-only\n",
        'could not translate host name "FATAL:  password authentication failed" to address: No address\n',
        'invalid sslmode value: "password authentication failed"\n',
        "password authentication failed, said a stranger\n",
        "",
    ],
)
def test_what_the_client_says(text: str) -> None:
    assert not is_rejection(said(text))


def test_an_empty_password() -> None:
    assert is_rejection(said(AT + "fe_sendauth: no password supplied\n"))
    assert is_rejection(said("fe_sendauth: no password supplied\n")), "libpq before 14"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # One address, over TLS and then without
        (AT + WRONG + AT + NO_ENTRY, True),
        (AT + NO_ENTRY + AT + WRONG, True),
        (AT + 'FATAL:  PAM authentication failed for user "u"\n' + AT + NO_ENTRY, True),
        (AT + NO_ENTRY + AT + NO_ENTRY, False),
        # Several
        (AT + REFUSED + AT_OTHER + WRONG, True),
        (AT + WRONG + AT_OTHER + REFUSED, True),
        ('could not translate host name "db" to address: Name or service not known\n' + AT_OTHER + WRONG, True),
        (AT + REFUSED + AT_OTHER + 'FATAL:  database "d" does not exist\n', False),
        # libpq before 14
        (WRONG + NO_ENTRY, True),
        (NO_ENTRY + WRONG, True),
        (NO_ENTRY + NO_ENTRY, False),
        ("could not connect to server: " + REFUSED + WRONG, True),
    ],
)
def test_several_attempts(text: str, expected: bool) -> None:
    assert is_rejection(said(text)) is expected


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_rejection(said(text)) in (True, False)


@given(st.text(st.characters(exclude_characters='"\n\r\0')))
@pytest.mark.parametrize("message", ['database "{}" does not exist', 'ロール"{}"は存在しません', '"{}" 롤(role) 없음'])
def test_no_name_passes_for_a_rejection(message: str, name: str) -> None:
    assert not is_rejection(fatal(message.format(name)))


# ---- other errors


@pytest.mark.parametrize("state", ["28P01", "28000"])
def test_a_sqlstate_decides(state: str) -> None:
    assert is_rejection(code(state))
    assert is_rejection(code(state, "sorry, too many clients already"))


@pytest.mark.parametrize("state", ["3D000", "42501", "53300", "57P03"])
def test_another_sqlstate_decides_too(state: str) -> None:
    assert not is_rejection(code(state, 'FATAL:  password authentication failed for user "u"'))


@pytest.mark.parametrize(
    ("state", "text", "expected"),
    [
        ("08P01", "password authentication failed", True),  # PgBouncer
        ("08P01", "FATAL:  SASL authentication failed", True),
        ("08006", "unable to accept connection, access denied", True),  # Aurora DSQL
        ("XX000", "The access token has expired.", True),
        ("08P01", "no more connections allowed (max_client_conn)", False),
        ("08006", 'server closed the connection\nDETAIL: password authentication failed for user "u"', False),
        ("XX000", "Tenant or user not found", False),
    ],
)
def test_a_sqlstate_that_may_mean_anything_leaves_it_to_the_text(state: str, text: str, expected: bool) -> None:
    assert is_rejection(code(state, text)) is expected


def test_wrapped() -> None:
    refused = said(AT + WRONG)
    wrapped = exc.OperationalError("SELECT 1", {}, refused)
    assert is_rejection(wrapped)
    raised = RuntimeError("no connection")
    raised.__cause__ = wrapped
    assert is_rejection(raised)
    circle = RuntimeError("a circle")
    circle.__cause__ = circle
    assert not is_rejection(circle)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(AT + WRONG),
        KeyboardInterrupt(AT + WRONG),
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
    ],
)
def test_what_no_driver_says(error: BaseException) -> None:
    assert not is_rejection(error)


# ---- a real server


@contextmanager
def role(server: EmbeddedPostgres, name: str, options: str) -> Iterator[str]:
    server.execute(f"CREATE ROLE {name} PASSWORD 'right' {options}")
    try:
        yield name
    finally:
        server.execute(f"DROP ROLE {name}")


def failed(server: EmbeddedPostgres, **arguments: Any) -> psycopg2.OperationalError:
    """Return what psycopg2 raises for this login."""
    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect(**{**login, "dbname": "postgres", "connect_timeout": 10, **arguments}).close()
    assert caught.value.pgcode is None, "if psycopg2 gives it after all, the text is not needed"
    return caught.value


def test_a_wrong_password(server: EmbeddedPostgres) -> None:
    assert is_rejection(failed(server, password="wrong"))
    assert is_rejection(failed(server, password=""))
    assert is_rejection(failed(server, user="nobody_of_that_name")), "the server does not say who exists"


def test_a_wrong_password_on_a_socket(server: EmbeddedPostgres) -> None:
    if server.socket_folder is None:
        pytest.skip("the server has no unix socket")
    assert is_rejection(failed(server, host=str(server.socket_folder), password="wrong"))


def test_a_password_that_has_expired(server: EmbeddedPostgres) -> None:
    with role(server, "rejection_expired", "LOGIN VALID UNTIL '2001-01-01'") as name:
        assert is_rejection(failed(server, user=name, password="right"))


def test_a_role_that_may_not_log_in(server: EmbeddedPostgres) -> None:
    with role(server, "rejection_nologin", "NOLOGIN") as name:
        assert not is_rejection(failed(server, user=name, password="right"))
        assert is_rejection(failed(server, user=name, password="wrong"))


def test_a_full_role(server: EmbeddedPostgres) -> None:
    with role(server, "rejection_full", "LOGIN CONNECTION LIMIT 0") as name:
        assert not is_rejection(failed(server, user=name, password="right"))


def test_other_refusals(server: EmbeddedPostgres) -> None:
    assert not is_rejection(failed(server, dbname="no_such_database"))
    assert not is_rejection(failed(server, dbname="password authentication failed"))
    assert not is_rejection(failed(server, sslmode="require"))
    assert not is_rejection(failed(server, options="-c no_such_setting=1"))


def test_nobody_there(server: EmbeddedPostgres) -> None:
    with socket.socket() as held:
        held.bind((server.host, 0))
        assert not is_rejection(failed(server, port=held.getsockname()[1]))
        both = failed(
            server,
            host=f"{server.host},{server.host}",
            port=f"{held.getsockname()[1]},{server.port}",
            password="wrong",
        )
    assert "refused" in str(both)
    assert is_rejection(both)


def test_through_sqlalchemy(server: EmbeddedPostgres, shared_database: str) -> None:
    place = urlsplit(shared_database)
    engine = create_engine(f"postgresql+psycopg2://{server.user}:wrong@{server.host}:{server.port}{place.path}")
    with pytest.raises(exc.OperationalError) as caught:
        engine.connect()
    assert is_rejection(caught.value)
