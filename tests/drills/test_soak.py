"""Drill 15: all of it mixed, for long. Memory, threads, descriptors and objects stay what they are."""

from __future__ import annotations

import sys

import pytest

from .conftest import MakeDrill
from .entrants import NAME
from .forms import by_form
from .processes import figure, run

SECONDS = by_form(short=15, long=1800)
MOST = by_form(
    short={"memory": 2_500, "threads": 2, "descriptors": 5, "objects": 1_250},
    long={"memory": 10_000, "threads": 2, "descriptors": 20, "objects": 5_000},
)
"""What the later two thirds may add. Memory in kB. The short form is for what grows with every piece of work, and it
allows little; what grows too slowly for it is the long form's to see."""

WHY_ALONE = (
    "most of the mix (deadlines, drain, resize, holders, leak reports, a use after a fork) is nothing that they offer"
)


def soak(database: str, seconds: float, *how: str) -> tuple[str, dict[str, float]]:
    said = run("tests.drills.soak", f"{database}?application_name={NAME}", str(seconds), *how, seconds=seconds + 250)
    return said, {name: figure(f"{name} more", said) for name in MOST}


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("python", [f"{sys.version_info.major}.{sys.version_info.minor}"])
def test_soak(database: str, drill: MakeDrill, python: str) -> None:
    made = drill(15, "soak", f"{SECONDS:,} s on Python {python}")
    made.without("QueuePool, psycopg_pool", WHY_ALONE)
    said, more = soak(database, SECONDS)
    units = {"memory": ", kB"}
    figures = {f"{name} more{units.get(name, '')}": int(value) for name, value in more.items()}
    made.row("ElasticPool", {"pieces of work": int(figure("done", said))} | figures)
    for name, most in MOST.items():
        made.must(f"{name} more{units.get(name, '')}", int(more[name]), most=most)


def test_a_leak_is_seen(database: str) -> None:
    _, more = soak(database, 1.5, "planted")
    assert [name for name, most in MOST.items() if more[name] <= most] == []
