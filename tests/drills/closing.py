"""The same check after every drill: nothing is lost, nobody was left waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from dbkit import ElasticPool

from ..pool.helpers import at_rest, eventually
from .entrants import NAME
from .load import Load

SLACK: Final = 0.25
"""Seconds beyond the 10 % that a borrower may wait past its deadline: on a machine that is short of processors a thread
does not run the moment it is woken."""

SESSIONS: Final = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{NAME}'"


def check(
    pool: ElasticPool,
    *,
    load: Load | None = None,
    execute: Callable[[str], list[tuple[Any, ...]]] | None = None,
    sessions: str = SESSIONS,
) -> None:
    """No slot is lost, the server has no more sessions than the maximum, every waiter was answered, and in time.

    Args:
        pool: ours, with nothing going on any more.
        load: that ran on it; was stopped, so that all its threads have ended.
        execute: runs a statement on the server that the pool is connected to; None where there is none any more.
        sessions: the statement that counts the pool's sessions.
    """
    at_rest(pool, in_use=0, waiting=0)
    stats = pool.stats()
    assert stats.size <= stats.max_size
    assert stats.idle + stats.in_use + stats.opening == stats.size
    if execute is not None:
        eventually(lambda: execute(sessions)[0][0] <= stats.max_size)
    if load is not None:
        longest, allowed = load.longest_wait(), pool.policy.timeout * 1.1 + SLACK
        assert longest <= allowed, f"a borrower waited {longest:.2f} s; {allowed:.2f} s is the most"
