"""Drill 3: the primary is killed outright under load, and its synchronous standby promoted."""

from __future__ import annotations

from time import monotonic

from . import closing
from .conftest import MakeDrill
from .entrants import Entrant, Ours, OurSessions, Params, make_manager, peers
from .forms import by_form
from .load import Load
from .pair import Pair, pair
from .record import Figure
from .test_restart import accepts_at

THREADS = 8
ROUNDS = by_form(short=1, long=10)


def insert(number: int) -> str:
    """The statement that writes a turn's number."""
    return f"INSERT INTO written VALUES ({number})"


def crash(both: Pair, entrant: Entrant) -> tuple[Load, dict[str, Figure]]:
    """Kill the primary, promote the standby; return the load and its figures."""
    load = Load(entrant, THREADS, insert)
    load.goes_on(10)
    both.first.kill()
    killed = monotonic()
    asks = accepts_at(both.params_of_second())
    both.second.execute("SELECT pg_promote()")
    accepted = asks.outcome()
    load.goes_on(10)
    load.stop()
    ends, written = load.ends(), [number for (number,) in both.second.execute("SELECT n FROM written")]
    acknowledged = {turn.number for turn in load.turns if turn.end == "ok"}
    return load, {
        "errors at borrow": ends["borrow"],
        "cut off in use": ends["statement"] + ends["commit"],
        "outcome unknown": len(load.unknown_commits()),
        "commits missing": len(acknowledged - set(written)),
        "written twice": len(written) - len(set(written)),
        "first commit after, s": max(0.0, load.first_success(since=killed).ended - accepted),
        "longest wait, s": load.longest_wait(),
    }


def worst(rounds: list[dict[str, Figure]]) -> dict[str, Figure]:
    """Of all rounds: sums of what is counted, the longest of what is timed."""
    return {
        name: max(float(round[name]) for round in rounds)
        if name.endswith(", s")
        else sum(int(round[name]) for round in rounds)
        for name in rounds[0]
    }


def ours(params: Params) -> OurSessions:
    return OurSessions(make_manager(params, timeout=30, engine_options={"require_writer": True}))


def test_the_primary_is_killed_and_the_standby_promoted(drill: MakeDrill):
    record = drill(3, "the primary is killed, a synchronous standby promoted", f"{THREADS} threads, {ROUNDS} times")
    rounds = []
    for _ in range(ROUNDS):
        with pair() as both:
            entrant = ours(both.params())
            load, figures = crash(both, entrant)
            rounds.append(figures)
            assert all(turn in load.unknown_commits() for turn in load.failures("commit"))
            closing.check(entrant.pool, load=load, execute=both.second.execute)
            entrant.close()
    record.row(Ours.name, worst(rounds))
    for place in range(len(peers({}, timeout=1)) * by_form(short=0, long=1)):
        with pair() as both:
            entrant = peers(both.params(), timeout=30)[place]()
            record.row(f"{entrant.name}, once", crash(both, entrant)[1])
            entrant.close()
    seen = record.rows[0].figures
    record.aim("first commit after the standby accepts, s", float(seen["first commit after, s"]), most=0.5)
    for what in ("errors at borrow", "commits missing", "written twice"):
        record.must(what, int(seen[what]), most=0)
