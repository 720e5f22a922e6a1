"""Where threads are now, read without disturbing them.

On CPython 3.11 the collector may run in the middle of any allocation. ``sys._current_frames()`` and ``frame.f_back``
allocate while they look at threads that must not move meanwhile; a leaked checkout finalized there rolls back and lets
go of the interpreter's lock, and the process stands still or crashes. So 3.11 is asked through ``faulthandler``, which
writes what it finds and allocates nothing. From 3.12 on the collector runs between two instructions only, and frames
can be read as they are: quicker, and for any number of threads.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from dbkit.core.holding import Call, calls_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import CodeType, FrameType

    from dbkit.core.holding import CallSite

DEPTH: Final = 40
"""Calls looked at in each stack."""

_COLLECTOR_RUNS_ANYWHERE: Final = sys.version_info < (3, 12)

_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+) ")
_CALL = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


class Stacks(NamedTuple):
    """Where some threads are.

    Attributes:
        calls: the calls of each thread found, by its number, innermost first.
        complete: all threads were looked at, so that one not found has ended.
    """

    calls: Mapping[int, tuple[Call, ...]]
    complete: bool


def call_site(frame: FrameType | None) -> CallSite:
    """The calls that led to this frame of the *calling* thread, innermost first. Keeps no local variable alive."""
    site: list[tuple[CodeType, int]] = []
    while frame is not None and len(site) < DEPTH:
        site.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(site)


def look_at(threads: Collection[int]) -> Stacks:
    """Where the threads with these numbers are now. Safe from any thread, and after a fork."""
    if _COLLECTOR_RUNS_ANYWHERE:
        return parse(_dump(), threads)
    frames = sys._current_frames()
    return Stacks({thread: calls_of(call_site(frames[thread])) for thread in threads if thread in frames}, True)


def _dump() -> str:
    """All threads as ``faulthandler`` writes them down; empty if there is no file to write to."""
    try:
        with _memory_file() as file:
            faulthandler.dump_traceback(file.fileno(), all_threads=True)
            file.seek(0)
            return file.read().decode("ascii", "replace")
    except OSError:  # no file descriptor left: the report does without
        return ""


def _memory_file() -> BinaryIO:
    """A file without a name. One for each dump: a forked child would share the position of one that is kept."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stacks"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def parse(dump: str, threads: Collection[int]) -> Stacks:
    """Read these threads' stacks out of what ``faulthandler`` wrote: the youngest 100 threads, then three dots."""
    found: dict[int, tuple[Call, ...]] = {}
    for block in dump.split("\n\n"):
        head = _THREAD.match(block)
        if head is not None and (thread := int(head[1], 16)) in threads:
            found[thread] = tuple(
                Call(_unescaped(function), _unescaped(file), int(line))
                for file, line, function in _CALL.findall(block)[:DEPTH]
            )
    return Stacks(found, complete=bool(dump) and not dump.endswith("\n...\n"))


def _unescaped(name: str) -> str:
    return _ESCAPED.sub(lambda code: chr(int(code[1] or code[2] or code[3], 16)), name)
