"""Drill 5: the network loses every packet and says nothing: while connecting, while idle, in the middle of a query.

Each pool runs in a network namespace of its own (``hole.py``), all at the same time: they do little but wait. Where the
machine allows no namespace or no packet filter, a proxy that stops forwarding is what there is; it runs everywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dbkit.embedded import EmbeddedPostgres

from ..pool.helpers import eventually
from . import closing, silence
from .closing import SLACK
from .conftest import MakeDrill
from .entrants import Entrant, Ours, make_manager, params_of, peers, turn
from .forms import by_form, need_network_namespace
from .hole import SIGNALS, TIMEOUT
from .strange_servers import Gap

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
    with ExitStack() as stack:
        made = {
            (case, pool): start(stack, case, pool, NETWORK_TIMEOUT, BOUND)
            for case, pools in POOLS.items()
            for pool in pools
        }
        yield made


def start(stack: ExitStack, case: str, pool: str, network_timeout: int, bound: float) -> subprocess.Popen[str]:
    """Start a process in a network namespace of its own. It ends with this one, or with the stack."""
    inside = ["unshare", "--net", "setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "tests.drills.hole"]
    process = subprocess.Popen(
        [*inside, case, pool, str(network_timeout), str(bound)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return process


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


def test_no_filter_is_left_when_the_drill_is_ended():
    need_network_namespace()
    own = Path("/proc/self/ns/net").readlink()

    def rules(namespace: int) -> str:
        inside = ["nsenter", f"--net=/proc/self/fd/{namespace}", "iptables", "-S", "INPUT"]
        return subprocess.run(inside, pass_fds=[namespace], capture_output=True, text=True, check=True).stdout

    with ExitStack() as stack:
        processes = {number: start(stack, "connecting", "QueuePool", 600, 600) for number in SIGNALS}
        for number, process in processes.items():
            network = Path(f"/proc/{process.pid}/ns/net")
            eventually(lambda network=network: network.readlink() != own)
            namespace = stack.enter_context(network.open()).fileno()  # it lives on by that
            eventually(lambda namespace=namespace: rules(namespace).count("DROP") == 2)
            process.send_signal(number)
            assert process.wait(60) == 128 + number, process.stderr and process.stderr.read()
            assert "DROP" not in rules(namespace)


@pytest.mark.parametrize("case", CASES)
def test_a_proxy_stops_forwarding(server: EmbeddedPostgres, drill: MakeDrill, case: str):
    seconds, bound = 1.0, by_form(short=8.0, long=10.0)
    record = drill(5, "black hole", f"a proxy that stops forwarding, {CASES[case]}; timeout and deadline {seconds:g} s")

    def in_time(entrant: Entrant, sql: str) -> None:
        assert isinstance(entrant, Ours)
        with entrant.db.deadline(seconds):
            turn(entrant, sql)

    with Gap(server.port) as gap:
        # The server looks whether its client is there; else a session that sleeps would stay.
        params = params_of(server, port=gap.port, options="-c client_connection_check_interval=200")
        ours, figures = silence.run(
            case, lambda: Ours(make_manager(params, timeout=seconds)), server, gap, bound, in_time
        )
        record.row(OURS, figures)
        assert isinstance(ours, Ours)
        closing.check(ours.pool, execute=server.execute)
        ours.close()
    for make in by_form(short=0, long=1) * [*range(len(peers({}, timeout=1)))]:
        with Gap(server.port) as gap:
            params = params_of(server, port=gap.port, options="-c client_connection_check_interval=200")
            peer, seen = silence.run(case, peers(params, timeout=seconds)[make], server, gap, bound)
            record.row(peer.name, seen)
        peer.close()
    told, healed = (figures[name] for name in ("told after, s", "healed after, s"))
    assert isinstance(told, float) and isinstance(healed, float), figures
    record.must("told after, s", told, most=seconds * 1.1 + SLACK)
    record.must("healed after, s", healed, most=2 * seconds)
