"""Ctrl-C at the worst moment: nobody gets a connection that another one left untidy, and none is lost."""

from __future__ import annotations

from typing import Any

import pytest

from dbkit.drivers.psycopg2 import Psycopg2Driver
from dbkit.dropin import PostgresqlConnection
from dbkit.dropin.loans import Loans

from ..pool.helpers import at_rest


class Struck(BaseException):
    """As Ctrl-C."""


def strike_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    original = getattr(owner, name)
    left = [1]

    def struck(*arguments: Any) -> Any:
        if left:
            left.pop()
            raise Struck
        return original(*arguments)

    monkeypatch.setattr(owner, name, struck)


def test_while_a_block_is_tidied(db: PostgresqlConnection, monkeypatch: pytest.MonkeyPatch):
    strike_once(monkeypatch, Psycopg2Driver, "set_state")
    with pytest.raises(Struck), db as conn:
        conn.commit()
        conn.autocommit = True
    for _ in range(3):
        with db as conn:
            assert conn.autocommit is False


def test_while_a_loan_is_tidied(loans: Loans, monkeypatch: pytest.MonkeyPatch):
    strike_once(monkeypatch, Psycopg2Driver, "set_state")
    lent: Any = loans.borrow()
    lent.autocommit = True
    with pytest.raises(Struck):
        loans.give_back(lent)
    at_rest(loans.pool, in_use=0)
    one, two = loans.borrow(), loans.borrow()
    assert (one.autocommit, two.autocommit) == (False, False)
    loans.give_back(one)
    loans.give_back(two)


class StruckAfter(dict):  # type: ignore[type-arg]
    """A dictionary whose ``pop`` is struck when it has popped."""

    struck = False

    def pop(self, *arguments: Any) -> Any:
        found = super().pop(*arguments)
        if not self.struck:
            self.struck = True
            raise Struck
        return found


def test_right_after_a_loan_was_taken_off_the_books(loans: Loans):
    loans._out = StruckAfter(loans._out)
    lent: Any = loans.borrow()
    lent.autocommit = True
    with pytest.raises(Struck):
        loans.give_back(lent)
    del lent
    at_rest(loans.pool, in_use=0)
    one, two = loans.borrow(), loans.borrow()
    assert (one.autocommit, two.autocommit) == (False, False)
    loans.give_back(one)
    loans.give_back(two)


def test_while_a_loan_is_made(loans: Loans):
    def struck(connection: object) -> None:
        raise Struck

    with pytest.raises(Struck):
        loans.borrow(note=struck)
    assert not loans._out
    at_rest(loans.pool, in_use=0)
