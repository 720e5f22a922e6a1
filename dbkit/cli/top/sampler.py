"""Takes samples on a thread of its own, so that the keys answer while the server does not."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from sqlalchemy import exc

from dbkit.cli.top.activity import look
from dbkit.cli.top.state import Activity, Sample, Trouble
from dbkit.errors import DbkitError
from dbkit.live import LiveError, PoolView, ask
from dbkit.manager import DatabaseConnectionManager


class Sampler:
    """Samples, one each ``interval`` seconds. ``ready`` becomes readable whenever there is one to ``take``.

    Args:
        sample: takes one; must not raise.
        interval: seconds between the end of one and the beginning of the next.
    """

    def __init__(self, sample: Callable[[], Sample], interval: float) -> None:
        self.interval = interval
        self.paused = False
        self._sample = sample
        self._taken: deque[Sample] = deque(maxlen=1)
        self._now = threading.Event()
        self.ready, self._bell = os.pipe()
        os.set_blocking(self.ready, False)
        threading.Thread(target=self._run, daemon=True, name="dbkit top").start()

    def look_now(self) -> None:
        """Take one at once."""
        self._now.set()

    def take(self) -> Sample | None:
        """The latest sample, once."""
        try:
            os.read(self.ready, 4096)
        except BlockingIOError:
            pass
        return self._taken.popleft() if self._taken else None

    def _run(self) -> None:
        while True:
            self._taken.append(self._sample())
            os.write(self._bell, b".")
            self._now.wait(None if self.paused else self.interval)
            self._now.clear()


def take_sample(db: DatabaseConnectionManager, app: str | None, token: str | None) -> Sample:
    """Ask the server, and the application if there is one.

    Args:
        db: on a pool of one.
        app: where the application shows its pool; None to ask none.
        token: for it.
    """
    pool: PoolView | Trouble | None = None
    if app is not None:
        try:
            pool = ask(app, token=token)
        except LiveError as error:
            pool = Trouble(str(error))
    return Sample(server=_server(db), pool=pool, at=monotonic())


def _server(db: DatabaseConnectionManager) -> Activity | Trouble:
    try:
        return look(db)
    except exc.DBAPIError as error:
        return Trouble(_first_line(error.orig or error))
    except (DbkitError, exc.SQLAlchemyError, OSError) as error:
        return Trouble(_first_line(error))


def _first_line(error: BaseException) -> str:
    """The reason, without the address: the screen's title has that."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.partition(" failed: ")[2] or line if line.startswith("connection to server") else line
