"""Whose line borrows: the walk from the pool up to the user's own code, on stacks made for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from greenlet import greenlet

import dbkit
from dbkit.pool import holders, profiling
from dbkit.pool.profiling import own_call

LIBRARY = str(Path(dbkit.__file__).with_name("made_up.py"))
OTHER_LIBRARY = str(Path(sqlalchemy.__file__).with_name("made_up.py"))
USERS = "/home/ada/shop/orders.py"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """What is remembered of file names is forgotten."""
    holders.is_library.cache_clear()
    yield
    holders.is_library.cache_clear()


def stack(*files: str) -> FrameType:
    """The innermost of frames in these files, the outermost first."""
    frame: Any = None
    for number, file in enumerate(files, start=1):
        code = compile("pass", file, "exec")
        frame = SimpleNamespace(f_code=code, f_lineno=number, f_back=frame)
    return frame


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ([USERS], 1),
        ([USERS, LIBRARY], 1),
        ([USERS, OTHER_LIBRARY, LIBRARY], 1),
        (["/home/ada/main.py", USERS, LIBRARY, LIBRARY], 2),
        ([USERS, OTHER_LIBRARY, "<string>", LIBRARY], 1),  # SQLAlchemy 2.0's generated code
        ([USERS, "<sqlalchemy generated>", LIBRARY], 1),
        ([USERS, "<string>", LIBRARY], 2),  # the user's own exec()
        (["<string>", LIBRARY], 1),  # python -c
    ],
)
def test_the_innermost_call_that_is_no_librarys(files: list[str], line: int) -> None:
    assert own_call(stack(*files))[1] == line


def test_where_all_is_a_librarys_it_is_the_call_itself() -> None:
    frame = stack(LIBRARY, OTHER_LIBRARY, LIBRARY)
    assert own_call(frame) == (frame.f_code, 3)


def test_a_greenlets_stack_goes_on_in_its_parents() -> None:
    made: dict[str, Any] = {}
    exec(compile("import sys\ndef borrow(): return sys._getframe()", LIBRARY, "exec"), made)
    found: list[Any] = []
    made["own_call"] = lambda frame: found.append(own_call(frame))
    exec(compile("def run(): own_call(borrow())", LIBRARY, "exec"), made)
    greenlet(made["run"]).switch()
    [(code, _)] = found
    assert code is sys._getframe().f_code


def parents_frame() -> FrameType | None:
    return profiling._frame_of_parent(sys._getframe())


def test_a_frame_of_no_greenlet_has_no_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parents_frame() is None
    monkeypatch.delitem(sys.modules, "greenlet")
    assert parents_frame() is None


def test_a_greenlets_parent_is_where_it_was_started() -> None:
    found: list[FrameType | None] = []
    here = sys._getframe()
    greenlet(lambda: found.append(parents_frame())).switch()
    assert found == [here]


def test_a_frame_of_the_parents_own_stack_is_at_its_end() -> None:
    here = sys._getframe()
    found: list[FrameType | None] = []
    greenlet(lambda: found.append(profiling._frame_of_parent(here))).switch()
    assert found == [None]
