"""docs/reliability.md and its picture say what the committed figures say."""

from __future__ import annotations

import pytest

from . import report
from .record import Drill, Target


def test_the_page_is_up_to_date():
    assert report.stale() == [], "run `make drills-report`"


def test_a_missed_target_is_named_at_the_top():
    drill = Drill(3, "a crash", "once", "short", targets=[Target("seconds", 2.0, 1.0), Target("errors", 0, 0)])
    text = report.page([drill])
    assert "Of 2 targets 1 were held, and these missed:\n\n- drill 3, once: seconds: 2.00, target 1.00, MISSED" in text
    assert "- errors: 0, target 0 (held)" in text


def test_every_pool_is_drawn_and_every_figure_stands_in_the_table():
    drill = Drill(2, "a restart", "fast", "short", curves={"one": [0, 5, 0], "two": [0, 0, 0]})
    drill.row("one", {"errors": 5})
    drill.row("two", {"seconds": 1.5})
    files = report.made([drill])
    assert "| one | 5 |  |" in files[report.PAGE]
    assert "| two |  | 1.50 |" in files[report.PAGE]
    assert "one: 5 errors in all" in files[report.PICTURE]


def test_a_target_that_must_hold_fails_its_drill():
    with pytest.raises(AssertionError, match="MISSED"):
        Drill(1, "a", "b", "short").must("errors", 1, most=0)
