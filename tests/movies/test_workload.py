"""Many threads on one pool: everything is counted, no error is swallowed, every connection comes back."""

from __future__ import annotations

import signal
import threading
from random import Random
from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError

from dbkit import DatabaseConnectionManager
from examples.movies import workload
from examples.movies.command import FAILED, OK, open_database, prove
from examples.movies.generate import generate_movies
from examples.movies.interrupt import CtrlC
from examples.movies.loading import load_movies
from examples.movies.proof import ServerSide
from examples.movies.workload import Outcome


def visitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("visitor-")]


def test_every_operation_is_done_and_counted(fresh_db: DatabaseConnectionManager) -> None:
    load_movies(fresh_db, generate_movies(300))
    moments: list[float] = []
    before = fresh_db.stats().borrows
    outcome = workload.run(fresh_db, threads=8, seconds=0.6, on_sample=moments.append)
    stats = fresh_db.stats()

    assert outcome.errors == {}
    assert outcome.done.total() >= 1
    assert set(outcome.done) <= {
        *("search", "get movie", "top by gross", "find user", "place order", "order history", "restock")
    }
    assert outcome.queries >= outcome.done.total()
    assert outcome.borrows == outcome.done.total() + outcome.sold_out
    assert outcome.use_time.count == outcome.borrows
    assert before < stats.borrows
    assert outcome.seconds >= 0.6
    assert moments == sorted(moments)
    assert len(moments) == len(outcome.samples) >= 1
    assert all(sample.in_use + sample.idle + sample.opening <= stats.max_size for sample in outcome.samples)
    assert (stats.in_use, stats.waiting, visitors()) == (0, 0, [])
    sold = fresh_db.execute_query("SELECT coalesce(sum(quantity), 0) FROM order_items").scalar()
    stock = fresh_db.execute_query("SELECT sum(stock) FROM movies").scalar()
    assert stock == 300 * 100 - sold + 10 * outcome.done["restock"]


def test_sold_out_is_no_error(fresh_db: DatabaseConnectionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    load_movies(fresh_db, generate_movies(1))
    fresh_db.execute_query("UPDATE movies SET stock = 0")

    def only_orders(shop: workload.Shop, dice: Random) -> dict[str, Any]:
        return {"place order": (100, lambda: shop.orders.place(shop.customers[0], {shop.movie_ids[0]: 1}))}

    monkeypatch.setattr(workload.Shop, "operations", only_orders)
    outcome = workload.run(fresh_db, threads=1, seconds=1)
    assert (outcome.done, outcome.errors) == ({}, {})
    assert outcome.sold_out > workload.ERRORS_IN_A_ROW  # nor does anybody give up


def test_errors_are_kept_and_a_thread_that_only_fails_gives_up(fresh_db: DatabaseConnectionManager) -> None:
    load_movies(fresh_db, generate_movies(10))
    shop_is_open = threading.Event()

    def demolish(elapsed: float) -> None:
        if not shop_is_open.is_set():
            shop_is_open.set()
            fresh_db.execute_query("ALTER TABLE movies RENAME TO films")
            fresh_db.execute_query("ALTER TABLE users RENAME TO people")

    outcome = workload.run(fresh_db, threads=2, seconds=8, on_sample=demolish)
    assert outcome.seconds < 8  # all had given up
    assert outcome.errors.total() >= 2 * workload.ERRORS_IN_A_ROW
    assert {text.split(":")[0] for _, text in outcome.errors} == {ProgrammingError.__name__}
    assert (fresh_db.stats().in_use, visitors()) == (0, [])


def test_an_interruption_waits_for_the_threads(fresh_db: DatabaseConnectionManager) -> None:
    load_movies(fresh_db, generate_movies(10))

    def interrupt(elapsed: float) -> None:
        if elapsed > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workload.run(fresh_db, threads=4, seconds=60, on_sample=interrupt)
    assert (fresh_db.stats().in_use, visitors()) == (0, [])


def test_an_empty_shop_has_nothing_to_do(fresh_db: DatabaseConnectionManager) -> None:
    with pytest.raises(workload.EmptyShopError, match="no movies"):
        workload.run(fresh_db, threads=1, seconds=1)


def proven(db: DatabaseConnectionManager, outcome: Outcome, *, leak: bool = False) -> tuple[int, list[str]]:
    settings = db.settings.replace(application_name=f"proof-{id(outcome)}")
    lines: list[str] = []
    with ServerSide(settings) as server_side, open_database(settings) as watched:
        session = watched.sessions()
        session.connection()
        server_side.observe(10)
        if not leak:
            session.close()
        code = prove(watched, server_side, outcome, 10, lines.append, patience=0.2 if leak else 10)
        session.close()
    return code, lines


def test_the_proof_holds_when_all_came_back(fresh_db: DatabaseConnectionManager) -> None:
    code, lines = proven(fresh_db, Outcome())
    assert code == OK
    assert [line.split()[0] for line in lines[2:]] == ["ok"] * 4
    assert "in_use=0" in lines[2]


def test_the_proof_fails_when_a_connection_is_still_out(fresh_db: DatabaseConnectionManager) -> None:
    code, lines = proven(fresh_db, Outcome(), leak=True)
    assert code == FAILED
    assert [line.split()[0] for line in lines[2:]] == ["FAIL", "ok", "FAIL", "ok"]
    assert "in_use=1" in lines[2]


def test_the_proof_fails_when_a_thread_had_an_error(fresh_db: DatabaseConnectionManager) -> None:
    outcome = Outcome()
    outcome.errors["search", "broken"] = 3
    code, lines = proven(fresh_db, outcome)
    assert code == FAILED
    assert "FAIL  the threads: 3 errors" in lines[-1]


def test_ctrl_c_is_remembered_until_the_work_asks() -> None:
    before: Any = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), CtrlC() as ctrl_c:
        ctrl_c.check()
        signal.raise_signal(signal.SIGINT)
        arrived = True
        ctrl_c.check()
        pytest.fail("not raised")
    assert arrived
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_is_raised_at_the_end_if_nobody_asked_and_hides_no_other_error() -> None:
    with pytest.raises(KeyboardInterrupt), CtrlC():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), CtrlC():
        signal.raise_signal(signal.SIGINT)
        _ = 1 / 0
