"""Drill 5: the network loses every packet and says nothing: while connecting, while idle, in the middle of a query.

Each pool runs in a network namespace of its own (``hole.py``), all at the same time: they do little but wait.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
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
OURS, QUERY = "ElasticPool", "in the middle of a query"
CASES = {"connecting": "while connecting", "idle": "while idle", "query": QUERY}
POOLS = {
    case: [OURS, *by_form(
        short=["QueuePool pre_ping"] if words == QUERY else [],
        long=["QueuePool", "QueuePool pre_ping", "psycopg_pool"],
    )]
    for case, words in CASES.items()
}  # fmt: skip
ALLOWED = {
    "connecting": TIMEOUT * 1.1 + SLACK,
    "idle": NETWORK_TIMEOUT * 1.1
    + SLACK
    + 1,  # the kernel looks when a retransmission is due, each later than the last
    "query": NETWORK_TIMEOUT * 1.1 + SLACK + 1,  # or a probe
}
"""Seconds within which a borrower must be told."""

Running = dict[tuple[str, str], "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Return the processes of all cases, under way."""
    need_network_namespace()
    inside = ["unshare", "--net", "--fork", "--kill-child", sys.executable, "-m", "tests.drills.hole"]
    made = {
        (case, pool): subprocess.Popen(
            [*inside, case, pool, str(NETWORK_TIMEOUT), str(BOUND)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for case, pools in POOLS.items()
        for pool in pools
    }  # fmt: skip
    yield made
    for process in made.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("case", CASES)
def test_the_network_falls_silent(running: Running, drill: MakeDrill, case: str):
    record = drill(5, "black hole", f"{CASES[case]}; timeout={TIMEOUT:g}, network_timeout={NETWORK_TIMEOUT}")
    for pool in POOLS[case]:
        out, err = running[case, pool].communicate(timeout=2 * BOUND + 120)
        assert running[case, pool].returncode == 0, err
        record.row(pool, json.loads(out))
    seen = record.rows[0].figures
    assert isinstance(seen["told after, s"], float), seen
    assert isinstance(seen["healed after, s"], float), seen
    record.must("told after, s", seen["told after, s"], most=ALLOWED[case])
    record.must("healed after, s", seen["healed after, s"], most=2 * TIMEOUT)
