"""A fixed password, a callable, a file; and which credential is chosen."""

from __future__ import annotations

import functools
import os

import pytest

from dbkit import DatabaseSettings, SettingsError
from dbkit.credentials import CallableCredential, CredentialError, FileCredential, StaticPassword, Token
from dbkit.credentials.resolve import choose
from dbkit.settings import Secret

from ..shown import everything_shown

CANARY = "pa55-canary"


def settings(**values):
    return DatabaseSettings.load({"host": "localhost"} | values, environ={}, env_file=None)


def test_a_fixed_password():
    password = StaticPassword(CANARY)
    assert password.current() == Secret(CANARY)
    assert password.renewed(password.current()) is None
    assert CANARY not in repr(password)


def test_a_file_is_read_at_each_connect(tmp_path):
    file = tmp_path / "password"
    credential = FileCredential(file)
    with pytest.raises(CredentialError, match="cannot be read"):
        credential.current()
    file.write_text("one\n")
    assert credential.current() == Secret("one")
    assert credential.renewed(Secret("one")) is None
    other = tmp_path / "other"
    other.write_text("two")
    before = file.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)
    assert credential.renewed(Secret("one")) == credential.current() == Secret("two")


def test_a_file_that_is_being_written_is_no_outage(tmp_path, caplog):
    file = tmp_path / "password"
    file.write_text("one")
    credential = FileCredential(file)
    credential.refresh()
    file.write_text("")
    assert credential.current() == Secret("one")
    assert credential.renewed(Secret("one")) is None
    assert "is empty" in caplog.text
    with pytest.raises(CredentialError, match="is empty"):
        credential.refresh()  # who asks for another is told
    file.write_text("two")
    assert credential.renewed(Secret("one")) == Secret("two")


def test_a_password_where_a_path_belongs_is_not_shown():
    with pytest.raises(CredentialError) as caught:
        FileCredential(CANARY).current()
    assert CANARY not in everything_shown(caught.value)


def test_a_file_that_does_not_answer_is_waited_for_no_longer_than_the_timeout_and_named(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    credential = FileCredential(pipe, timeout=0.2)
    try:
        with pytest.raises(CredentialError, match=rf"the credential file {pipe} did not answer within timeout=0\.2 s"):
            credential.current()
    finally:
        with pipe.open("w") as end:  # which lets the reading thread go
            end.write("late")


def a_function():
    return "password"


class Callable:
    def __call__(self):
        return "password"


@pytest.mark.parametrize(
    ("function", "name"),
    [(a_function, "a_function"), (Callable(), "Callable"), (functools.partial(str, CANARY), "partial")],
)
def test_a_callable_is_named_and_its_arguments_are_not(function, name):
    credential = CallableCredential(function)
    assert repr(credential) == f"the credential {name}"
    assert credential.current().reveal() in ("password", CANARY)


def test_an_error_of_a_callable_names_it():
    def ask_the_vault():
        raise PermissionError("sealed")

    with pytest.raises(CredentialError, match="ask_the_vault failed: PermissionError: sealed"):
        CallableCredential(ask_the_vault).current()


# ---- chosen


def test_what_is_given_goes_before_what_is_configured():
    chosen = choose(settings(password="x", credential="password"), lambda: Token("y"))
    assert chosen.current() == Token("y")


def test_nothing_leaves_it_to_libpq():
    assert choose(settings()) is None


def test_the_settings_password():
    assert choose(settings(password="x")).current() == Secret("x")


def test_the_settings_file(tmp_path):
    file = tmp_path / "password"
    file.write_text("one")
    chosen = choose(settings(credential="file", password_file=str(file)))
    file.write_text("two")
    assert chosen.current() == Secret("two")


def test_dbkits_own_are_taken_as_they_are():
    mine = CallableCredential(a_function)
    assert choose(settings(), mine) is mine


def test_anybody_elses_with_the_method_will_do():
    class Theirs:
        def current(self):
            return Token("z")

    chosen = choose(settings(), Theirs())
    assert chosen.current() == Token("z")
    assert "Theirs.current" in repr(chosen)


def test_a_credential_is_told_the_target():
    class Bound(StaticPassword):
        def bound_to(self, settings):
            return StaticPassword(settings.host)

    assert choose(settings(), Bound("")).current() == Secret("localhost")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (CANARY, "a fixed password is given as password"),
        (7, "not int"),
        (Token(CANARY), "not Token"),
        (StaticPassword, "make one, StaticPassword"),
    ],
)
def test_what_is_no_credential(given, words):
    with pytest.raises(SettingsError, match=words) as caught:
        choose(settings(), given)
    assert CANARY not in str(caught.value)
