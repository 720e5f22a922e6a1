"""Screens, compared with those in ``screens/``. ``DBKIT_DRAW=1`` draws them anew: look at them before you keep them."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dbkit.cli.top.state import Picture, Sample, Sort, Trouble, with_sample
from dbkit.cli.top.view import screen

from .some_pictures import ACTIVITY, POOL, session, times

SCREENS = Path(__file__).with_name("screens")
EMPTY = Picture(target="app@db:5432/shop")
SERVER = with_sample(EMPTY, Sample(ACTIVITY, None, at=1.0))


def with_pool() -> Picture:
    picture = replace(EMPTY, asks_app=True)
    for at in range(12):
        pool = replace(
            POOL,
            borrows=1000 + 50 * at,
            wait=times(10 + at, 1.0 + 0.02 * at * at),
            use=times(100 + at, 4.0 + at * 0.01),
        )
        server = replace(ACTIVITY, at=1000.0 + at, transactions=5000 + 120 * at)
        picture = with_sample(picture, Sample(server, pool, at=float(at)))
    return picture


PICTURES = {
    "empty": EMPTY,
    "server": SERVER,
    "pool": with_pool(),
    "by_application": replace(SERVER, sort=Sort.APPLICATION, paused=True),
    "help": replace(SERVER, help=True),
    "trouble": with_sample(with_pool(), Sample(Trouble("connection refused"), Trouble("s does not answer"), at=99.0)),
}


def drawn(picture: Picture, width: int = 80, height: int | None = 24) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    console.print(screen(picture, width, height, clock="12:03:11"))
    return console.file.getvalue()


@pytest.mark.parametrize("name", PICTURES)
def test_a_screen_of_80_by_24(name):
    text = "\n".join(line.rstrip() for line in drawn(PICTURES[name]).splitlines()) + "\n"
    path = SCREENS / f"{name}.txt"
    if os.environ.get("DBKIT_DRAW"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (132, 50), (40, 12), (20, 5), (10, 2), (200, 1)])
def test_it_fits_every_screen(name, width, height):
    lines = drawn(PICTURES[name], width, height).splitlines()
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)


def test_a_file_gets_everything_and_no_keys():
    text = drawn(PICTURES["pool"], 200, None)
    assert "quit" not in text
    assert all(str(pid) in text for pid in (101, 102, 103, 104))
    assert "web-1" in text


def test_what_others_wrote_cannot_move_the_cursor():
    hostile = session(1, application="\x1b[2J", query="\x1b]0;x\x07\nSELECT", transaction=1.0, user="\x9b1m")
    text = drawn(with_sample(EMPTY, Sample(replace(ACTIVITY, sessions=(hostile,)), None, at=1.0)))
    assert not any(c in text for c in "\x1b\x07\x9b")
    assert "SELECT" in text
