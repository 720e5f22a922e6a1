"""Pictures of a server and a pool, for tests of ``dbkit top``."""

from __future__ import annotations

from typing import Any

from dbkit.cli.top.state import Activity, Session
from dbkit.core.profile import CallSiteUse
from dbkit.live import HolderView, PoolView, Times


def times(count: int, total: float) -> Times:
    return Times(count=count, total=total, p50=0.01, p95=0.1, longest=1.0)


def session(pid: int, **changes: Any) -> Session:
    known: dict[str, Any] = {
        "user": "app", "application": "shop", "database": "shop", "client": "10.0.0.9", "state": "idle",
        "transaction": None, "state_for": 3.0, "waits_for": "", "query": "SELECT 1",
    }  # fmt: skip
    return Session(pid=pid, **(known | changes))


def holder(thread: str, seconds: float, **changes: Any) -> HolderView:
    known: dict[str, Any] = {"where": (), "borrowed_at": (), "ended": False}
    return HolderView(thread=thread, seconds=seconds, **(known | changes))


POOL = PoolView(
    name="shop", pid=4711, size=8, idle=2, in_use=5, opening=1, waiting=2, min_size=2, max_size=10, borrows=1000,
    timeouts=1, refused=0, opens=9, open_failures=0, closes={"idle": 1}, wait=times(10, 1.0), use=times(100, 4.0),
    open=times(9, 0.1),
    profile=(
        CallSiteUse(where="load (jobs.py:12)", endpoint=None, share=0.81, wait_caused=12.5, borrows=640, out=1,
                    p50=0.4, p95=2.0, longest=75.0),
        CallSiteUse(where="get (web.py:7)", endpoint="GET /films", share=0.19, wait_caused=0.0, borrows=6400, out=0,
                    p50=0.001, p95=0.004, longest=0.02),
    ),
    holders=(
        holder("worker-1", 75.0, where=("sleep (jobs.py:3)",), borrowed_at=("load (jobs.py:12)",)),
        holder("worker-2", 0.02, ended=True),
        *(holder(f"web-{n}", 0.001 * n, where=("get (web.py:7)",)) for n in (3, 2, 1)),
    ),
)  # fmt: skip

ACTIVITY = Activity(
    version="18.1", in_recovery=False, room=97, transactions=5000, at=1000.0,
    sessions=(
        session(101, state="idle in transaction", transaction=720.0, application="report",
                query="UPDATE films SET price = 1"),
        session(102, state="active", transaction=60.0, state_for=59.0, waits_for="Lock: transactionid",
                query="UPDATE films\n   SET price = 2", blocked_by=(101,)),
        session(103, state="active", transaction=3.0, waits_for="Lock: tuple", query="DELETE FROM films",
                blocked_by=(102,)),
        session(104, application="", user="admin", state="active", transaction=0.004, query="VACUUM"),
        *(session(pid, state_for=float(pid)) for pid in range(105, 125)),
        session(125, state="?", application="", user="?", state_for=None, query=""),
    ),
)  # fmt: skip
