"""A pool that nobody uses: does it leave the processor alone? Each in a process of its own, all at the same time."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import contenders
from benchmarks.contenders import ELASTIC, PSYCOPG, Source
from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target

NONE = "no pool"
SECONDS = (15.0, 3.0)
KEPT, MOST = 10, 10
SETTLE = 1.0
"""Seconds after the warm-up, in which threads that opened connections end."""


def _lie_idle(name: str, dsn: str, seconds: float) -> dict[str, float]:
    """Keep a warm pool for so long, and tell what the process did meanwhile.

    The end of its own sleep, which is one wake-up, does not count.
    """
    contender = contenders.MAKERS[name](Source(dsn), KEPT, MOST) if name != NONE else None
    time.sleep(SETTLE)
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    if contender is not None:
        contender.close()
    return {
        "wake-ups": after.ru_nvcsw - before.ru_nvcsw - 1,
        "CPU time": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    names = (ELASTIC, PSYCOPG, NONE)
    children = {name: _start(name, bench) for name in names}
    try:
        yield {name: _collect(child) for name, child in children.items()}
    finally:
        for child in children.values():
            child.kill()
            child.communicate()


def _start(name: str, bench: Bench) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,  # Ctrl-C is for us, and we end them
    )
    if child.stdin is None:
        raise RuntimeError("the child has no standard input")
    # not on its command line, where anybody could read the password
    child.stdin.write(json.dumps({"name": name, "dsn": bench.dsn, "seconds": SECONDS[bench.quick]}))
    child.stdin.close()
    child.stdin = None
    return child


def _collect(child: subprocess.Popen[str]) -> Callable[[float], Reading]:
    def collect(_share: float) -> Reading:
        output, _ = child.communicate(timeout=SECONDS[0] + 60)
        if child.returncode:
            raise RuntimeError(f"the idle process ended with code {child.returncode}")
        return Reading(json.loads(output))

    return collect


ROW = Row(
    name="idle",
    title=f"10 idle connections for {SECONDS[0]:g} s ({SECONDS[1]:g} s in a quick run)",
    notes=(
        "Each in a process of its own. Wake-ups: voluntary context switches beyond the end of the measuring sleep\n"
        "itself. Nothing of the pool's is due in that time: its first keepalive would come after 120 s."
    ),
    quantities=(Quantity("wake-ups", "count", worst=True), Quantity("CPU time", "seconds")),
    targets=(
        Target(quantity="wake-ups", of=ELASTIC, at_most=0.0),
        Target(quantity="CPU time", of=ELASTIC, at_most=0.010),
    ),
    runs=(3, 1),
    rounds=(1, 1),
    seconds=(55, 6),
    warm_up="never",
    cases=_cases,
)


def main() -> None:
    """Be the process that lies idle: told on standard input what to be, it prints what that cost."""
    print(json.dumps(_lie_idle(**json.load(sys.stdin))))
