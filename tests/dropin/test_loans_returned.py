"""A connection at its return, returns that are refused, and what is left to the one that returned it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import psycopg2
import pytest
from psycopg2 import extensions, extras
from psycopg2.pool import PoolError

from dbkit.dropin.errors import NotLentError
from dbkit.dropin.loans import Loans

from ..pool.helpers import Admin, unique
from .common import lending, value

CHANGES = {
    "autocommit": True,
    "isolation_level": extensions.ISOLATION_LEVEL_SERIALIZABLE,
    "readonly": True,
    "deferrable": True,
    "cursor_factory": extras.RealDictCursor,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_borrower_changed_is_undone(loans: Loans, name: str):
    lent = loans.borrow()
    pid, before = lent.get_backend_pid(), getattr(lent, name)
    setattr(lent, name, CHANGES[name])
    assert getattr(lent, name) == CHANGES[name] != before
    value(lent, "SELECT 1") if name != "cursor_factory" else None
    loans.give_back(lent)
    again = loans.borrow()
    assert again.get_backend_pid() == pid
    assert getattr(again, name) == before
    loans.give_back(again)


def test_what_was_not_committed_is_rolled_back(loans: Loans):
    name = unique("t")
    lent = loans.borrow()
    lent.cursor().execute(f"CREATE TABLE {name} (n integer)")
    loans.give_back(lent)
    again = loans.borrow()
    assert value(again, f"SELECT to_regclass('{name}')") is None
    loans.give_back(again)


def test_a_transaction_begun_by_hand_in_autocommit_is_rolled_back_too(loans: Loans):
    name = unique("t")
    lent = loans.borrow()
    lent.autocommit = True
    lent.cursor().execute(f"BEGIN; CREATE TABLE {name} (n integer)")
    loans.give_back(lent)
    again = loans.borrow()
    assert again.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
    assert value(again, f"SELECT to_regclass('{name}')") is None
    loans.give_back(again)


@pytest.mark.parametrize("loss", ["closed by the borrower", "ended by the server"])
def test_a_lost_connection_is_replaced(loans: Loans, admin: Admin, loss: str):
    lent = loans.borrow()
    pid = lent.get_backend_pid()
    if loss == "closed by the borrower":
        lent.close()
    else:
        admin.kill(pid)
        with pytest.raises(psycopg2.OperationalError):
            value(lent, "SELECT 1")
    loans.give_back(lent)
    again = loans.borrow()
    assert again.get_backend_pid() != pid
    assert value(again, "SELECT 1") == 1
    loans.give_back(again)
    assert loans.pool.stats().size == 1


@pytest.mark.parametrize("failing", ["says no", "raises"])
def test_a_connection_that_cannot_be_tidied_is_replaced(loans: Loans, failing: str):
    def tidy(connection: Any, noted: object) -> bool:
        if failing == "raises":
            raise ZeroDivisionError
        return False

    untidy = Loans(loans.pool, "untidy", tidy=tidy)
    lent = untidy.borrow()
    pid = lent.get_backend_pid()
    if failing == "raises":
        with pytest.raises(ZeroDivisionError):
            untidy.give_back(lent)
    else:
        untidy.give_back(lent)
    again = loans.borrow()
    assert again.get_backend_pid() != pid
    loans.give_back(again)


def test_a_connection_that_cannot_be_noted_goes_back(loans: Loans):
    def note(connection: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        Loans(loans.pool, "unnoted", note=note).borrow()
    assert loans.pool.stats().in_use == 0
    assert caught.value.__traceback__ is not None  # keeps the frames alive, so that no finalizer helps


def test_a_second_return_is_refused_and_the_next_borrower_keeps_his(shared_database: str):
    with lending(shared_database, max_size=1) as loans:
        first = loans.borrow()
        loans.give_back(first)
        second = loans.borrow()  # the very same connection of the driver's
        second.cursor().execute("CREATE TEMPORARY TABLE mine (n integer)")
        with pytest.raises(NotLentError, match="given back already"):
            loans.give_back(first)
        assert loans.pool.stats().in_use == 1
        assert value(second, "SELECT count(*) FROM mine") == 0  # no rollback struck it
        loans.give_back(second)


def test_the_wrong_pool_refuses_it_and_says_whose_it_is(shared_database: str):
    with lending(shared_database, "the one") as one, lending(shared_database, "the other") as other:
        lent = one.borrow()
        with pytest.raises(NotLentError, match=r"not the other's but the one's: it stays lent"):
            other.give_back(lent)
        assert value(lent, "SELECT 1") == 1
        one.give_back(lent)
        with pytest.raises(NotLentError, match="not the other's"):
            other.give_back(lent)


def test_whatever_else_is_refused(shared_database: str, loans: Loans):
    lent = loans.borrow()
    raw = lent.cursor().connection
    stranger = psycopg2.connect(shared_database)
    for wrong in (None, object(), "connection", raw, stranger, loans):
        with pytest.raises(NotLentError, match="never lent this") as caught:
            loans.give_back(wrong)
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, PoolError)
    assert value(lent, "SELECT 1") == value(stranger, "SELECT 1") == 1
    stranger.close()
    loans.give_back(lent)


def test_after_its_return_it_can_do_nothing(loans: Loans):
    lent = loans.borrow()
    pid = lent.get_backend_pid()
    loans.give_back(lent)
    holder = loans.borrow()
    assert holder.get_backend_pid() == pid
    for use in (
        lambda: lent.cursor(),
        lambda: lent.commit(),
        lambda: lent.autocommit,
        lambda: setattr(lent, "autocommit", True),
        lambda: lent.__enter__(),
    ):
        with pytest.raises(psycopg2.InterfaceError, match="given back"):
            use()
    assert lent.closed
    lent.close()  # as on any closed connection
    assert not holder.closed
    assert holder.autocommit is False
    assert not isinstance(lent, extensions.connection)
    assert "no longer lent" in repr(lent)
    loans.give_back(holder)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_cannot_be_doubled(loans: Loans, duplicate: Any):
    lent = loans.borrow()
    with pytest.raises(TypeError, match="copied"):
        duplicate(lent)
    loans.give_back(lent)
