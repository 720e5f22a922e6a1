"""A pause of whatever runs here: the thread, or the task alone where the loop must go on."""

from __future__ import annotations

import sys
import time


def pause(seconds: float) -> None:
    """Wait so many seconds; on an event loop the other tasks go on."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        time.sleep(seconds)
        return
    from sqlalchemy.util import await_only
    from sqlalchemy.util.concurrency import in_greenlet

    if in_greenlet():
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
