"""Drill 4: a planned switchover. The old primary lives on, answers every ping, and lets nobody write any more."""

from __future__ import annotations

from time import monotonic

from dbkit.pool.server_checks import READ_ONLY

from ..pool.helpers import eventually
from . import closing
from .conftest import MakeDrill
from .entrants import Entrant, peers
from .forms import by_form
from .load import Load
from .pair import Pair, pair
from .record import Figure
from .test_promotion import THREADS, insert, ours

GOES_ON = by_form(short=1.0, long=9.0)
"""Seconds that the load goes on after the switchover."""

WRITERS = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"


def switch_over(both: Pair, entrant: Entrant) -> tuple[Load, dict[str, Figure]]:
    """Make the primary read-only, promote the standby, and look at what the load makes of it for a while."""
    load = Load(entrant, THREADS, insert)
    load.goes_on(10)
    both.first.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    both.first.execute("SELECT pg_reload_conf()")
    eventually(lambda: both.first.execute(WRITERS) == [(0,)])  # whoever waits for the standby then would wait for good
    both.second.execute("SELECT pg_promote()")
    promoted = monotonic()
    eventually(lambda: monotonic() > promoted + GOES_ON)
    load.stop()
    refused = [turn for turn in load.failures() if turn.code == READ_ONLY]
    first = min((turn.ended for turn in refused), default=monotonic())
    back = [turn.ended for turn in load.turns if turn.end == "ok" and turn.began > first]
    sessions = both.first.execute(closing.SESSIONS)[0][0]
    return load, {
        "refused as read-only": len(refused),
        "of these, begun after the first": sum(turn.began > first for turn in refused),
        "errors at borrow": load.ends()["borrow"],
        "first commit after, s": max(0.0, min(back) - promoted) if back else "never",
        "sessions left on the old primary": sessions,
    }


def test_the_old_primary_lives_on_read_only(drill: MakeDrill):
    record = drill(4, "planned switchover, the old primary lives on", f"{THREADS} threads, {GOES_ON:g} s after it")
    with pair() as both:
        entrant = ours(both.params())
        load, figures = switch_over(both, entrant)
        record.row(entrant.name, figures)
        closing.check(entrant.pool, load=load, execute=both.second.execute)
        entrant.close()
    chosen = peers({}, timeout=1)
    for place in range(len(chosen)) if by_form(short=False, long=True) else (0,):
        with pair() as both:
            peer = peers(both.params(), timeout=30)[place]()
            record.row(peer.name, switch_over(both, peer)[1])
            peer.close()
    seen = record.rows[0].figures
    record.must("refused, begun after the first refusal", int(seen["of these, begun after the first"]), most=0)
    record.must("refused as read-only", int(seen["refused as read-only"]), most=THREADS)
    record.must("errors at borrow", int(seen["errors at borrow"]), most=0)
    record.must("sessions left on the old primary", int(seen["sessions left on the old primary"]), most=0)
