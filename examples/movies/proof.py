"""What the server says about our connections, seen from outside the pool."""

from __future__ import annotations

from time import monotonic, sleep
from types import TracebackType
from typing import Self

from dbkit import DatabaseConnectionManager
from dbkit.settings import DatabaseSettings


class ServerSide:
    """Counts the server's processes with our ``application_name``, over a connection of its own past our pool."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._name = str(settings.options["application_name"])
        watcher = settings.replace(application_name=f"{self._name}-watch", min_size=1, max_size=1)
        self._db = DatabaseConnectionManager(watcher)
        self.most = 0
        """The greatest count seen."""

    def observe(self, at_most: int) -> None:
        """Look how many connections there are, and remember the most."""
        self.most = max(self.most, self.settle(at_most, timeout=1.0))

    def settle(self, at_most: int, *, timeout: float) -> int:
        """The count as soon as it is not above ``at_most``, else after ``timeout`` seconds.

        A process of the server takes a moment to end after its connection was closed.
        """
        deadline = monotonic() + timeout
        while (found := self._count()) > at_most and monotonic() < deadline:
            sleep(0.02)
        return found

    def _count(self) -> int:
        found: int = self._db.execute_query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name", {"name": self._name}
        ).scalar()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._db.close_connections()
