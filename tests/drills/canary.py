"""The canary: the passwords of a drill's servers, searched for in all that anybody could come to read.

In the process of the drills and, by way of ``in_children``, in every Python process that a drill starts: each log
record of any logger from DEBUG on, with the locals of dbkit's frames where it carries an error; each error that a drill
sees; what is printed; ``repr`` and ``str`` of every object of dbkit's that is alive at the end; faulthandler's dump.
Nothing is kept of what is clean, so that a soak can run for hours.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ..shown import shown_by_dbkit

FOLDER: Final = "DBKIT_CANARY"
"""The variable that names the folder which children learn the words from, and write their finds to."""

IN_CHILDREN: Final = str(Path(__file__).with_name("in_children"))
"""Goes onto the ``PYTHONPATH`` of children: Python imports ``sitecustomize`` from there when it starts."""

COVER: Final = "[the canary]"

_WATCHING: Final[list[Callable[[BaseException], None]]] = []
_BEFORE: Final[list[object]] = []


def seen(error: BaseException) -> None:
    """Have an error looked at that a drill catches itself."""
    for examine in _WATCHING:
        examine(error)


class Canary:
    """Watches a process, and keeps what it finds in a folder.

    Args:
        folder: the words, which are what must not be seen, and the finds.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[object] = set()
        self._words = tuple(self._file("words").read_text().splitlines()) if self._file("words").exists() else ()
        self.records = 0

    def _file(self, name: str) -> Path:
        return self._folder / name

    def learn(self, *words: str) -> None:
        """These must not be seen anywhere, by children started from now on either."""
        self._words = tuple(dict.fromkeys((*self._words, *words)))
        with open(self._file("words"), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("\n".join(self._words))

    def look(self, where: str, text: str) -> None:
        """Note a find, with what stands before it."""
        for word in self._words:
            place = text.find(word)
            if place >= 0:
                before = text[max(0, place - 300) : place].replace(word, COVER)
                with self._file("finds").open("a") as file:
                    file.write(f"{where}, process {os.getpid()}: ...{before}{COVER}\n")

    def finds(self) -> str:
        """What was found so far, here and in children."""
        return self._file("finds").read_text() if self._file("finds").exists() else ""

    def examine(self, error: BaseException, where: str = "an error") -> None:
        """Look at an error with all it is chained to; at one of many that are alike."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        kind = (type(error), trace and (trace.tb_frame.f_code, trace.tb_lineno), type(error.__cause__))
        if kind not in self._seen:
            self._seen.add(kind)
            self.look(where, shown_by_dbkit(error))

    def hear(self, record: logging.LogRecord) -> None:
        """Look at a log record."""
        self.records += 1
        where = f"a log record of {record.name}"
        with contextlib.suppress(TypeError, ValueError):  # another library's record, whose text cannot be made
            self.look(where, f"{record.getMessage()} {record.stack_info or ''}")
        if record.exc_info and record.exc_info[1] is not None:
            self.examine(record.exc_info[1], where)

    def look_at_the_process(self) -> None:
        """Look at what is alive, and at what faulthandler would write if the process crashed now."""
        for one in (*_BEFORE, *gc.get_objects()):
            if is_ours(one):
                self.look(f"repr of a {type(one).__qualname__}", f"{one!r} {one}")
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            self.look("faulthandler's dump", file.read())

    @contextlib.contextmanager
    def hears_all(self) -> Iterator[None]:
        """Within the block every logger says all it can, and this hears it, wherever it goes; and it sees errors."""
        loggers = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
        before = [(one, one.level) for one in (logging.root, *loggers)]
        pass_on, names_threads = logging.Logger.callHandlers, logging.logThreads

        def hear_and_pass_on(logger: logging.Logger, record: logging.LogRecord) -> None:
            self.hear(record)
            pass_on(logger, record)

        for one, _ in before:
            one.setLevel(logging.DEBUG if one is logging.root else logging.NOTSET)
        # A record made by a finalizer as its thread ends would ask for the thread; Python 3.13 would make up one then,
        # and keep it for ever.
        logging.logThreads = False
        logging.Logger.callHandlers = hear_and_pass_on  # type: ignore[method-assign]
        _WATCHING.append(self.examine)
        try:
            yield
        finally:
            _WATCHING.remove(self.examine)
            logging.Logger.callHandlers = pass_on  # type: ignore[method-assign]
            logging.logThreads = names_threads
            for one, level in before:
                one.setLevel(level)


def is_ours(one: object) -> bool:
    """Whether it is dbkit's."""
    return str(type(one).__module__).startswith("dbkit")  # some classes have a descriptor there


def note_what_is_there() -> None:
    """Before ``gc`` is told to leave alone what there is, and to name it no more: keep what is ours of it in sight."""
    _BEFORE.extend(one for one in gc.get_objects() if is_ours(one))


def watch_this_process(folder: Path) -> None:
    """Watch a child from its start to its end."""
    canary = Canary(folder)
    until_its_end = contextlib.ExitStack()
    until_its_end.enter_context(canary.hears_all())
    until_its_end.callback(canary.look_at_the_process)
    atexit.register(until_its_end.close)
    said, in_thread = sys.excepthook, threading.excepthook

    def unhandled(kind: Any, error: BaseException, trace: Any) -> None:
        canary.examine(error, "an unhandled error")
        said(kind, error, trace)

    def unhandled_in_a_thread(given: Any) -> None:
        if given.exc_value is not None:
            canary.examine(given.exc_value, "an error that ended a thread")
        in_thread(given)

    sys.excepthook, threading.excepthook = unhandled, unhandled_in_a_thread
