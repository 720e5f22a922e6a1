"""The canary sees a password wherever it is shown. Each test shows one, and then clears the finds."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..pool.helpers import Task
from ..shown import DBKIT
from .canary import COVER, Canary, seen

WORD = "pa55-canary"


class Loud:
    """Stands for an object of dbkit's that shows what it should not."""

    __module__ = "dbkit.loud"

    def __init__(self) -> None:
        self.kept = [WORD]

    def __repr__(self) -> str:
        return f"Loud({self.kept})"


def fails_in_dbkit() -> None:
    """Raise with the word in the locals of a frame that is dbkit's, and nowhere else."""
    code = "def connect(password):\n    raise ValueError('refused')\n"
    place: dict[str, Callable[[str], None]] = {}
    exec(compile(code, f"{DBKIT}/loud.py", "exec"), place)
    place["connect"](WORD)


def in_a_child(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)


def log_apart() -> None:
    logger = logging.getLogger("apart")
    logger.debug("connecting with %s", WORD)


def log_the_error() -> None:
    try:
        fails_in_dbkit()
    except ValueError:
        logging.getLogger("loud").debug("it failed", exc_info=True)


def raise_it() -> None:
    with pytest.raises(ValueError, match="refused"):
        fails_in_dbkit()


def catch_it() -> None:
    try:
        fails_in_dbkit()
    except ValueError as error:
        seen(error)


def keep_it(canary: Canary) -> None:
    kept = Loud()
    canary.look_at_the_process()
    kept.kept.clear()


CODE = "password = ''.join(['pa55', '-', 'canary'])\n"
SHOWN: dict[str, Callable[[Canary], None]] = {
    "log": lambda _: log_apart(),
    "traceback in a log": lambda _: log_the_error(),
    "error": lambda _: raise_it(),
    "error that a drill catches": lambda _: catch_it(),
    "error of a thread": lambda _: Task(fails_in_dbkit).join(),
    "repr": keep_it,
    "output of a child": lambda _: in_a_child(CODE + "print(password)"),
    "log of a child": lambda _: in_a_child(CODE + "import logging; logging.getLogger('x').debug(password)"),
    "error of a child": lambda _: in_a_child(
        CODE + f"exec(compile('raise ValueError(1)', {DBKIT!r} + '/x.py', 'exec'), {{}}, {{'p': password}})"
    ),
}


@pytest.fixture(autouse=True)
def forgiven(canary: Canary, canary_folder: Path) -> Iterator[None]:
    logging.getLogger("apart").propagate = False
    yield
    (canary_folder / "finds").unlink(missing_ok=True)


@pytest.mark.parametrize("how", SHOWN)
def test_it_is_seen(canary: Canary, how: str) -> None:
    canary.learn(WORD)
    SHOWN[how](canary)
    assert COVER in canary.finds()
    assert WORD not in canary.finds()


def test_what_is_clean_is_clean(canary: Canary) -> None:
    canary.learn("another-word")
    for show in SHOWN.values():
        show(canary)
    assert canary.records > 0
    assert canary.finds() == ""


def test_a_password_with_blanks_is_one_word_in_children_too(tmp_path: Path) -> None:
    Canary(tmp_path).learn("p@ss / word")
    childs = Canary(tmp_path)  # as each child makes it
    childs.look("what it said", "/usr/bin: word")
    assert childs.finds() == ""
    childs.look("what it said", "with p@ss / word")
    assert COVER in childs.finds()
