"""One connection attempt: which driver, what a fork waits for, and what the error of a failed one says. No server."""

from __future__ import annotations

import contextlib
import pickle

import psycopg
import psycopg2
import pytest

from dbkit import DatabaseSettings
from dbkit.connector import Connector, origins
from dbkit.credentials import CredentialError, StaticPassword, Token
from dbkit.credentials.base import BaseCredential
from dbkit.credentials.resolve import choose
from dbkit.diagnosis.outage import is_refusal
from dbkit.diagnosis.rejection import is_rejection
from dbkit.pool.creator import Creator
from dbkit.settings import Secret

from ..diagnosis.texts import AT, WRONG
from ..shown import everything_shown

CANARY = "pa55-canary"
REJECTED = AT + WRONG
FOREIGN = AT + "FATAL:  das Datenbanksystem startet\n"


class Script:
    """A driver's ``connect`` that raises or returns one thing after the other, and keeps what it was given."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.passwords = []

    def __call__(self, **arguments):
        self.passwords.append(arguments.get("password"))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Numbered(BaseCredential):
    """Gives p1, and after each rejection the next."""

    def __init__(self):
        self.number = 1

    def current(self):
        return Secret(f"p{self.number}")

    def renewed(self, rejected):
        self.number += 1
        return self.current()


def connector(connect, credential=None, **more):
    return Connector("u@db:5432/shop", {"host": "db"}, {}, credential, lambda: None, connect=connect, **more)


def outcome(work):
    with pytest.raises(BaseException) as caught:
        work()
    return caught.value


# ---- the driver


def test_it_connects_by_the_drivers_own_function():
    script = Script("a connection")
    assert connector(script, StaticPassword(CANARY))() == "a connection"
    assert script.passwords == [CANARY]
    assert isinstance(connector(script), Creator)


@pytest.mark.parametrize("driver", [psycopg, psycopg2])
def test_a_rejected_login_is_tried_once_more_with_another_password(driver):
    script = Script(driver.OperationalError(REJECTED), "a connection")
    connect = connector(script, Numbered(), failures=(driver.Error,))
    assert connect() == "a connection"
    assert script.passwords == ["p1", "p2"]


@pytest.mark.parametrize("answer", [None, CANARY.encode(), f"{CANARY}\0", "", 5])
def test_an_answer_that_is_no_password_is_refused_before_libpq_looks_elsewhere(answer):
    class Careless(BaseCredential):
        def current(self):
            return answer

    script = Script("a connection")
    error = outcome(connector(script, Careless()))
    assert isinstance(error, CredentialError)
    assert "Careless is of no use: " in str(error)
    assert script.passwords == []
    assert CANARY not in str(error)


def test_an_error_that_is_no_failure_of_the_driver_is_not_judged():
    script = Script(psycopg.OperationalError(REJECTED))
    with pytest.raises(psycopg.OperationalError):
        connector(script, Numbered(), failures=(psycopg2.Error,))()
    assert script.passwords == ["p1"]


def test_a_rejection_that_is_not_certain_is_tried_once_more_and_left_to_the_pool(monkeypatch):
    monkeypatch.setattr("dbkit.connector.GRACE", ("nobody waits for this",))
    script = Script("a connection", *(psycopg2.OperationalError(FOREIGN) for _ in range(2)))
    connect = connector(script, Numbered())
    connect()
    assert not is_refusal(outcome(connect))
    assert script.passwords == ["p1", "p1", "p2"]


# ---- forks


def test_a_fork_waits_for_the_drivers_connecting_only(monkeypatch):
    happened = []

    @contextlib.contextmanager
    def gate():
        happened.append("closed")
        try:
            yield
        finally:
            happened.append("open")

    class Watched(Numbered):
        def current(self):
            happened.append("asked")
            return super().current()

    class Watching(Script):
        def __call__(self, **arguments):
            happened.append("connecting")
            return super().__call__(**arguments)

    monkeypatch.setattr("dbkit.connector.connecting", gate)
    monkeypatch.setattr("dbkit.connector.time.sleep", lambda _: happened.append("pause"))
    connector(Watching(psycopg2.OperationalError(REJECTED), "a connection"), Watched())()
    attempt = ["closed", "connecting", "open"]
    assert happened == ["asked", *attempt, "pause", "asked", *attempt]


# ---- what a failed attempt says


def settings():
    own = {"username": "u", "password": CANARY, "database": "shop"}
    return DatabaseSettings.load(own, environ={"DB_HOST": "db", "DB_PORT": "5432"}, env_file=None)


def failing(error, credential=None):
    known = settings()
    return Connector(
        known.target, known.connect_params(), {}, choose(known, credential), lambda: None,
        origins=origins(known, credential), connect=Script(error),
    )  # fmt: skip


def test_a_failed_attempt_tells_the_target_and_where_host_user_and_password_came_from():
    error = outcome(failing(psycopg2.OperationalError(REJECTED)))
    assert type(error) is psycopg2.OperationalError
    assert str(error) == REJECTED + (
        "\tdbkit tried u@db:5432/shop: host from environment variable DB_HOST, user from mapping, password from mapping"
    )
    assert CANARY not in everything_shown(error)


def test_a_credential_given_in_code_is_named():
    class Vault(BaseCredential):
        def current(self):
            return Token(CANARY)

    error = outcome(failing(psycopg2.OperationalError("timeout expired\n"), Vault()))
    assert "password from Vault, given in code" in str(error)
    assert CANARY not in everything_shown(error)


def test_what_was_added_changes_no_verdict():
    for text in (REJECTED, FOREIGN, "timeout expired\n"):
        plain = psycopg2.OperationalError(text)
        told = outcome(connector(Script(psycopg2.OperationalError(text)), origins=f"host from {WRONG}"))
        assert is_refusal(told) is is_refusal(plain)
        assert is_rejection(told) is is_rejection(plain)


def test_an_error_keeps_its_sqlstate_and_can_be_pickled():
    error = outcome(failing(psycopg2.errors.InvalidCatalogName("no such database")))
    assert isinstance(error, psycopg2.errors.InvalidCatalogName)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    own = psycopg.errors.InvalidPassword("no")
    assert outcome(connector(Script(own), failures=(psycopg.Error,))).sqlstate == "28P01"


def test_an_error_that_is_raised_twice_says_it_once():
    again = psycopg2.OperationalError("timeout expired\n")
    connect = connector(Script(again, again))
    outcome(connect)
    assert str(outcome(connect)) == "timeout expired\n\tdbkit tried u@db:5432/shop"


def test_an_error_without_words_of_its_own_gets_a_note():
    error = outcome(connector(Script(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"))))
    assert error.__notes__ == ["dbkit tried u@db:5432/shop"]
