"""Tokens and leases: pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dbkit.credentials import Credential, StaticPassword, Token
from dbkit.credentials.base import BaseCredential, Lease, text_of
from dbkit.settings import Secret

CANARY = "t0ken-canary"


def test_a_token_shows_no_value():
    token = Token(CANARY, 1000.0)
    assert CANARY not in repr(token) + str(token) + f"{token}"
    assert "1000.0" in repr(token)
    assert token.value.reveal() == CANARY


def test_tokens_compare_and_do_not_change():
    assert Token("a", 1) == Token(Secret("a"), 1.0)
    assert Token("a", 1) != Token("b", 1)
    assert len({Token("a", 1), Token("a", 1)}) == 1
    with pytest.raises(AttributeError):
        Token("a").value = Secret("b")


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        1767323045,
        1767323045.0,
    ],
)
def test_an_end_is_seconds_or_a_datetime_with_a_zone(moment):
    assert Token("a", moment).expires_at == 1767323045.0


@pytest.mark.parametrize(
    ("value", "moment", "error"),
    [
        ("a", datetime(2026, 1, 2), ValueError),
        ("a", "2026-01-02", TypeError),
        ("a", True, TypeError),
        ("a", math.nan, ValueError),
        ("a", math.inf, ValueError),
        (b"a", None, TypeError),
        (None, None, TypeError),
    ],
)
def test_what_is_no_token(value, moment, error):
    with pytest.raises(error):
        Token(value, moment)


@pytest.mark.parametrize(
    ("life", "refresh_in", "unusable_in"),
    [
        (3600, 3300, 3540),  # Azure, Google
        (900, 600, 840),  # RDS: ten minutes of use
        (86400, 86100, 86340),
        (30, 20, 27),
        (0, 0, 0),
    ],
)
def test_the_margins_before_an_end(life, refresh_in, unusable_in):
    lease = Lease.of(Token("a", 10_000 + life), now=10_000)
    assert lease.refresh_at == pytest.approx(10_000 + refresh_in)
    assert lease.unusable_at == pytest.approx(10_000 + unusable_in)


def test_a_token_without_an_end_is_never_due():
    lease = Lease.of(Token("a"), now=10_000)
    assert lease.refresh_at == lease.unusable_at == math.inf


def test_a_token_that_has_expired_is_not_usable():
    lease = Lease.of(Token("a", 9_000), now=10_000)
    assert lease.unusable_at <= 10_000


def test_which_of_two_to_have():
    short, long = (Lease.of(Token("a", end), now=0) for end in (100, 200))
    assert long.outlasts(short)
    assert not short.outlasts(long)
    assert not short.outlasts(short)
    assert short.outlasts(None)


def test_the_text_of_both():
    assert text_of(Secret("a")) == text_of(Token("a")) == Secret("a")


def test_what_is_a_credential():
    class OneOfTheirs:
        def current(self):
            return "x"

    assert isinstance(OneOfTheirs(), Credential)
    assert isinstance(StaticPassword("x"), Credential)
    assert not isinstance("x", Credential)


class Given(BaseCredential):
    """The least that a credential of dbkit's own must say."""

    def __init__(self, *passwords):
        self.passwords = list(passwords)

    def current(self):
        return Secret(self.passwords.pop(0))


def test_a_credential_that_only_gives_has_a_default_for_all_else():
    credential = Given("one")
    assert credential.bound_to(None) is credential
    assert credential.pending() is None
    assert (credential.fixed, credential.gives_tokens) == (False, False)
    credential.refresh()
    assert credential.current() == Secret("one")
    assert repr(credential) == "Given"


def test_by_default_a_rejected_password_is_asked_for_once_more():
    assert Given("two").renewed(Secret("one")) == Secret("two")
    assert Given("two").renewed(Token("two")) is None


def test_a_password_that_never_changes_says_so():
    assert StaticPassword("x").fixed
