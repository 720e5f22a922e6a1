"""Was the login rejected? Texts as libpq writes them. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc

from dbkit.diagnosis.outage import is_refusal
from dbkit.diagnosis.rejection import is_rejection

from .texts import AT, AT_OTHER, CACHED, NO_ENTRY, NO_HOST, NOT_REACHED, WRONG, code, fatal, said


@pytest.mark.parametrize(
    "answer",
    [
        # PostgreSQL
        'password authentication failed for user "u"',
        'PAM authentication failed for user "u"',
        'GSSAPI authentication failed for user "u"',
        'OAuth bearer authentication failed for user "u"',
        '"trust" authentication failed for user "u"',
        'authentication failed for user "u": invalid authentication method',
        "empty password returned by client",
        # Azure
        "The access token has expired. Please acquire a new token and retry.",
        "An error occurred while validating the access token. Please acquire a new token and retry.",
        "Azure AD access token not valid for role group-writers (does not contain group ID 0-0-0)",
        'Microsoft Entra user token for role "admin" is neither an AAD_AUTH_TOKENTYPE_APP_USER or an APP_OBO token.',
        # AWS: RDS Proxy, Aurora DSQL
        "IAM authentication failed for user u. Check the IAM token for this user and try again.",
        "The password that was provided for the role u is wrong.",
        "unable to accept connection, access denied\nHINT:  Signature expired",
        # Google, Lakebase, Neon
        'Cloud SQL IAM service account authentication failed for user "u@project.iam"',
        "Provided authentication token is not a valid JWT encoding",
        "password authentication failed for user 'u'",
        # poolers
        "SASL authentication failed",
        "Auth failed",
        f'{CACHED}password authentication failed for user "u" (server_login_retry)',
        "md5 authentication failed\nDETAIL:  password does not match",
        "odyssey: c890e71787623: incorrect password",
    ],
)
def test_a_login_that_was_rejected(answer: str) -> None:
    assert is_rejection(fatal(answer))
    assert is_rejection(said(f"FATAL:  {answer}\n")), "libpq before 14"
    assert is_refusal(fatal(answer)), "a borrower is told at once where no other token helps"


@pytest.mark.parametrize(
    "answer",
    [
        'ВАЖНО:  пользователь "u" не прошёл проверку подлинности (по паролю)',
        "FATAL:  Passwort-Authentifizierung f?r Benutzer >>u<< fehlgeschlagen",
        'FATAL:  ユーザー"u"のパスワード認証に失敗しました',
        'FATAL:  ??? "u"? password ??? ??????',
        "FATAL:  a sentence nobody has ever seen",
    ],
)
def test_an_answer_that_is_not_understood_may_be_a_rejection(answer: str) -> None:
    assert is_rejection(said(f"{AT}{answer}\n"))
    assert is_rejection(said(f"Verbindung zum Server auf »db« (10.0.0.1), Port 5432 fehlgeschlagen: {answer}\n"))


def test_an_answer_in_an_encoding_of_the_servers_own_may_be_a_rejection() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        f'{AT}ВАЖНО:  пользователь "u" не прошёл проверку\n'.encode("koi8_r").decode()
    assert is_rejection(caught.value)


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
        'unrecognized configuration parameter "x"',
        # Not now
        "sorry, too many clients already",
        'too many connections for role "u"',
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "the database system is starting up",
        "terminating connection due to administrator command",
        "canceling authentication due to timeout",
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
        'database "d" does not exist\nDETAIL:  password authentication failed for user "u"',
    ],
)
def test_an_answer_that_no_other_secret_changes(answer: str) -> None:
    assert not is_rejection(fatal(answer))
    assert not is_rejection(said(f"FATAL:  {answer}\n")), "libpq before 14"


@pytest.mark.parametrize(
    "text",
    [
        AT + NOT_REACHED,
        AT + "timeout expired\n",
        AT + "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n",
        AT + "server does not support SSL, but SSL was required\n",
        AT + 'server certificate for "password authentication failed" does not match host name "db"\n',
        AT + "session is read-only\n",
        AT + NOT_REACHED + f"\tuser from {WRONG}",
        'could not translate host name "FATAL:  password authentication failed" to address: No address\n',
        'invalid sslmode value: "password authentication failed"\n',
        "password authentication failed, said a stranger\n",
        "",
    ],
)
def test_a_server_that_did_not_answer_rejected_nothing(text: str) -> None:
    assert not is_rejection(said(text))


def test_an_empty_password_counts_as_rejected() -> None:
    assert is_rejection(said(AT + "fe_sendauth: no password supplied\n"))
    assert is_rejection(said("fe_sendauth: no password supplied\n")), "libpq before 14"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # One address, over TLS and then without
        (AT + WRONG + AT + NO_ENTRY, True),
        (AT + NO_ENTRY + AT + WRONG, True),
        (AT + NO_ENTRY + AT + NO_ENTRY, False),
        # Several
        (AT + NOT_REACHED + AT_OTHER + WRONG, True),
        (AT + WRONG + AT_OTHER + NOT_REACHED, True),
        (NO_HOST + AT_OTHER + WRONG, True),
        (AT + NOT_REACHED + AT_OTHER + 'FATAL:  database "d" does not exist\n', False),
        # libpq before 14
        (NO_ENTRY + WRONG, True),
        (NO_ENTRY + NO_ENTRY, False),
        ("could not connect to server: " + NOT_REACHED + WRONG, True),
    ],
)
def test_several_attempts(text: str, expected: bool) -> None:
    assert is_rejection(said(text)) is expected


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_rejection(said(text)) in (True, False)


@given(st.text(st.characters(exclude_characters='"\n\r\0')))
def test_no_name_passes_for_a_rejection(name: str) -> None:
    assert not is_rejection(fatal(f'database "{name}" does not exist'))


@pytest.mark.parametrize("state", ["28P01", "28000"])
def test_a_sqlstate_decides(state: str) -> None:
    assert is_rejection(code(state, "sorry, too many clients already"))


@pytest.mark.parametrize("state", ["3D000", "42501", "53300", "57P03"])
def test_another_sqlstate_decides_too(state: str) -> None:
    assert not is_rejection(code(state, WRONG))


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


def test_an_error_that_wraps_another() -> None:
    wrapped = exc.OperationalError("SELECT 1", {}, said(AT + WRONG))
    raised = RuntimeError("no connection")
    raised.__cause__ = wrapped
    assert is_rejection(raised)
    circle = RuntimeError("a circle")
    circle.__cause__ = circle
    assert not is_rejection(circle)


@pytest.mark.parametrize(
    "error",
    [ValueError(AT + WRONG), KeyboardInterrupt(AT + WRONG), ConnectionRefusedError(111, "refused"), TimeoutError()],
)
def test_no_drivers_error_is_no_rejection(error: BaseException) -> None:
    assert not is_rejection(error)
