"""Drill 7: a server that accepts and says nothing; the first of two hosts is such a one; one is slow to begin."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import Task
from . import closing
from .closing import SLACK
from .conftest import MakeDrill
from .entrants import Entrant, Ours, Params, make_manager, params_of, peers, turn
from .forms import by_form, only_long
from .record import Drill
from .strange_servers import Mute, Slow

BOUND = by_form(short=5.0, long=30.0)
"""Seconds after which a pool counts as one that never answers."""


def run(record: Drill, params: Params, timeout: float) -> tuple[Ours, list[tuple[Entrant, Task, float]]]:
    """Have every pool make one turn, side by side, and note how each ended and after how long."""
    ours = Ours(make_manager(params, timeout=timeout, min_size=0))
    makers: list[Callable[[], Entrant]] = [lambda: ours, *peers(params, timeout=timeout)]
    under_way = []
    for make in makers:
        entrant, began = make(), monotonic()
        task = Task(lambda entrant=entrant: (turn(entrant), monotonic())[1])
        under_way.append((entrant, task, began))
    return ours, under_way


def note(record: Drill, what: str, under_way: list[tuple[Entrant, Task, float]]) -> float:
    """Wait for all of them, note them, and return what ours took."""
    took: dict[str, float] = {}
    for entrant, task, began in under_way:
        task.join(max(0.0, began + BOUND - monotonic()))
        if task.is_alive():
            record.row(entrant.name, {what: f"over {BOUND:g}"})
            continue
        took[entrant.name] = (task.result or monotonic()) - began
        record.row(entrant.name, {what: took[entrant.name], "served": "yes" if task.result else "no"})
    return took[Ours.name]


def close_peers(under_way: list[tuple[Entrant, Task, float]]) -> None:
    """Once all are free: their sessions would count as ours, which is the first."""
    for _, task, _ in under_way:
        task.join(60)
        assert not task.is_alive()
    for entrant, _, _ in under_way[1:]:
        entrant.close()


def test_the_server_says_nothing(drill: MakeDrill):
    record = drill(7, "mute server", "timeout=3")
    with Mute() as mute:
        params = {"host": "127.0.0.1", "port": mute.port, "user": "nobody", "dbname": "none"}
        ours, under_way = run(record, params, 3)
        took = note(record, "told after, s", under_way)
    for _, task, _ in under_way:
        task.join(60)  # the mute one is gone, so all are free
        assert not task.is_alive()
        assert task.error is not None
    record.must("told after, s", took, most=3 * 1.1 + SLACK)
    closing.check(ours.pool)
    for entrant, _, _ in under_way:
        entrant.close()


def test_the_first_of_two_hosts_says_nothing(server: EmbeddedPostgres, drill: MakeDrill):
    record = drill(7, "mute server", "the first of two hosts, timeout=9")
    with Mute() as mute:
        params = params_of(server, host="127.0.0.1,127.0.0.1", port=f"{mute.port},{server.port}")
        ours, under_way = run(record, params, 9)
        took = note(record, "connected after, s", under_way)
        assert under_way[0][1].error is None
    record.aim("the good host reached after, s", took, most=3.0)
    close_peers(under_way)
    closing.check(ours.pool, execute=server.execute)
    ours.close()


def test_there_is_little_time_for_the_good_one_behind_a_mute_one(server: EmbeddedPostgres, drill: MakeDrill):
    record = drill(7, "mute server", "the first of two hosts, timeout=3")
    with Mute() as mute:
        params = params_of(server, host="127.0.0.1,127.0.0.1", port=f"{mute.port},{server.port}")
        took = connects_within(record, params, 3, server)
    record.must("the good host reached after, s", took, most=3.0)


@only_long
def test_two_slow_hosts_are_given_time(server: EmbeddedPostgres, drill: MakeDrill):
    record = drill(7, "slow server", "two hosts, each 4 s until it begins, timeout=20")
    with Slow(server.port, 4.0) as one, Slow(server.port, 4.0) as other:
        params = params_of(server, host="127.0.0.1,127.0.0.1", port=f"{one.port},{other.port}")
        took = connects_within(record, params, 20, server)
    record.must("connected after, s", took, most=20)


def connects_within(record: Drill, params: Params, timeout: float, server: EmbeddedPostgres) -> float:
    """Have ours make one turn, and note how long that took."""
    ours, began = Ours(make_manager(params, timeout=timeout, min_size=0)), monotonic()
    turn(ours)
    took = monotonic() - began
    record.row(ours.name, {"connected after, s": took})
    closing.check(ours.pool, execute=server.execute)
    ours.close()
    return took


def test_a_server_is_slow_to_begin(server: EmbeddedPostgres, drill: MakeDrill):
    record = drill(7, "slow server", "1 s until it begins, timeout=3, then timeout=0.5")
    with Slow(server.port, 1.0) as slow:
        ours, under_way = run(record, params_of(server, port=slow.port), 3)
        took = note(record, "connected after, s", under_way)
        assert under_way[0][1].outcome() is not None
        record.must("connected after, s", took, most=3 * 1.1 + SLACK)
        close_peers(under_way)
        closing.check(ours.pool, execute=server.execute)
        ours.close()
        hasty = Ours(make_manager(params_of(server, port=slow.port), timeout=0.5, min_size=0))
        began = monotonic()
        task = Task(turn, hasty)
        task.join(20)
        took = monotonic() - began
        assert task.error is not None
        record.must("told after, s", took, most=0.5 * 1.1 + SLACK)
        closing.check(hasty.pool, execute=server.execute)
        hasty.close()
