"""A step that may hang, bounded in time: looking a name up, or a server that took the connection and says nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NoAnswerError(Exception):
    """The step did not end in time. Its thread goes on by itself, and ends with the process at the latest."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do the work on a thread of its own, and return what it returns.

    Args:
        seconds: to wait for it.
        work: what to do; must be harmless when it ends after all, later.

    Raises:
        NoAnswerError: it took longer.
        what the work raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="dbkit check")
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise NoAnswerError(f"no answer within {seconds:g} s")
