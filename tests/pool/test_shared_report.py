"""Borrowers that time out together share one look at the pool: a crowd costs no more than one."""

from __future__ import annotations

import math
import threading
import time

import pytest

from dbkit.pool import driver, holders
from dbkit.pool.errors import PoolTimeoutError
from dbkit.pool.holders import MOMENT, SharedReport

from .helpers import QUIET, Borrower, engine_on, eventually, in_line
from .runtimes import Task


class Reports:
    """Makes numbered reports, and counts them. The first waits at the gate, if that is closed."""

    def __init__(self) -> None:
        self.made = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.made += 1
        mine = self.made
        if mine == 1:
            assert self.gate.wait(60)
        return mine


def test_those_that_waited_already_share_a_report():
    make, report = Reports(), SharedReport[int](moment=1000)
    assert [report.get(began, make) for began in (0.0, 5.0, -math.inf)] == [1, 1, 1]


def test_a_report_from_before_ones_own_wait_is_not_shown():
    make, report = Reports(), SharedReport[int](moment=1000)
    assert report.get(0.0, make) == 1
    assert report.get(time.monotonic(), make) == 2


def test_a_report_is_shared_for_a_moment_only():
    make, report = Reports(), SharedReport[int](moment=-1)
    assert [report.get(0.0, make) for _ in range(3)] == [1, 2, 3]


def test_those_that_come_while_a_report_is_made_wait_for_it():
    make, report = Reports(), SharedReport[int](moment=1000)
    make.gate.clear()
    tasks = [Task(report.get, 0.0, make) for _ in range(8)]
    eventually(lambda: make.made == 1)
    make.gate.set()
    assert [task.outcome() for task in tasks] == [1] * 8
    assert make.made == 1


def test_nobody_waits_long_for_a_maker_that_is_stuck(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(holders, "PATIENCE", 0.01)
    make, report = Reports(), SharedReport[int](moment=1000)
    make.gate.clear()
    stuck = Task(report.get, 0.0, make)
    eventually(lambda: make.made == 1)
    assert Task(report.get, 0.0, make).outcome() == 2
    make.gate.set()
    assert stuck.outcome() == 1


def test_a_finalizer_in_the_midst_of_a_report_makes_its_own():
    report = SharedReport[object](moment=1000)
    assert report.get(0.0, lambda: ("outer", report.get(0.0, lambda: "inner"))) == ("outer", "inner")


def test_a_report_that_failed_is_shared_with_nobody():
    make, report = Reports(), SharedReport[int](moment=1000)
    with pytest.raises(ZeroDivisionError):
        report.get(0.0, lambda: 1 // 0)
    assert report.get(0.0, make) == 1


def test_a_crowd_that_times_out_together_looks_at_the_pool_a_few_times(
    shared_database: str, monkeypatch: pytest.MonkeyPatch
):
    looks: list[float] = []
    look = driver.find_holders

    def counted(*arguments: object) -> object:
        looks.append(time.monotonic())
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "find_holders", counted)
    crowd, timeout = 60, 3.0
    with engine_on(shared_database, **QUIET | {"max_size": 1, "pool_timeout": timeout}) as engine:
        holder = Borrower(engine.pool, name="nightly-report")
        assert holder.has_it.wait(60)
        began = time.monotonic()
        tasks = [Task(engine.pool.connect) for _ in range(crowd)]
        in_line(engine.pool, crowd)
        for task in tasks:
            with pytest.raises(PoolTimeoutError, match="nightly-report"):
                task.outcome()
        took = time.monotonic() - began - timeout
        holder.give_back()
    assert 1 <= len(looks) <= 1 + took / MOMENT
