"""Drill 5: the network loses every packet and says nothing: while connecting, while idle, in the middle of a query.

Each pool runs in a network namespace of its own (``hole.py``), all at the same time: they do little but wait.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .closing import SLACK
from .conftest import MakeDrill
from .forms import by_form, need_network_namespace
from .hole import TIMEOUT

ROOT = Path(__file__).parents[2]
NETWORK_TIMEOUT = 3
BOUND = by_form(short=8, long=60)
"""Seconds after which a pool counts as one that does not notice."""
POOLS = by_form(
    short=("ElasticPool", "QueuePool pre_ping"),
    long=("ElasticPool", "QueuePool", "QueuePool pre_ping", "psycopg_pool"),
)
ALLOWED = {
    "connecting": TIMEOUT * 1.1 + SLACK,
    "idle": NETWORK_TIMEOUT * 1.1 + SLACK + 1,  # retransmissions are due every so often, and the last one decides
    "query": NETWORK_TIMEOUT * 1.1 + SLACK + 1,
}
"""Seconds within which a borrower must be told."""


@pytest.mark.parametrize("case", ALLOWED)
def test_the_network_falls_silent(drill: MakeDrill, case: str):
    need_network_namespace()
    words = {"connecting": "while connecting", "idle": "while idle", "query": "in the middle of a query"}[case]
    record = drill(5, "black hole", f"{words}; timeout={TIMEOUT:g}, network_timeout={NETWORK_TIMEOUT}")
    inside = ["unshare", "--net", "--fork", "--kill-child", sys.executable, "-m", "tests.drills.hole"]
    running = {
        pool: subprocess.Popen(
            [*inside, case, pool, str(NETWORK_TIMEOUT), str(BOUND)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for pool in POOLS
    }  # fmt: skip
    try:
        for pool, process in running.items():
            out, err = process.communicate(timeout=2 * BOUND + 120)
            assert process.returncode == 0, err
            record.row(pool, json.loads(out))
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
    seen = record.rows[0].figures
    assert isinstance(seen["told after, s"], float), seen
    assert isinstance(seen["healed after, s"], float), seen
    record.must("told after, s", seen["told after, s"], most=ALLOWED[case])
    record.must("healed after, s", seen["healed after, s"], most=2 * TIMEOUT)
