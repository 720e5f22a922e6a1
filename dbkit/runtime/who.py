"""Who runs now, whatever carries it: a thread, or a task of an event loop."""

from __future__ import annotations

import sys
from _thread import get_ident


def who() -> int:
    """The number of the running task; that of the thread where none runs. Unique while that lives.

    A program that has not imported ``asyncio`` has no task, and dbkit does not import it to find out.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None and (task := asyncio.current_task()) is not None:
        return id(task)
    return get_ident()
