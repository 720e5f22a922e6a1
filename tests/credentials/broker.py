"""A role on a real server whose password is the token of the moment, and threads that use it all the time."""

from __future__ import annotations

import itertools
import threading

from sqlalchemy import make_url

from dbkit import DatabaseConnectionManager, DatabaseSettings
from dbkit.credentials import Token

from ..pool.helpers import Admin, Task, eventually, unique

CANARY = "t0ken-canary"
FAR = 10.0**10
"""A moment in the future."""


class Broker:
    """Who gives out tokens, and tells the server: a role whose password is the current token."""

    def __init__(self, admin: Admin, url: str, *, life: float = FAR) -> None:
        self.role = unique("rotating")
        self.admin = admin
        self.asked = 0
        self.end = life
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._token = ""
        given = make_url(url)
        self.address = {
            "host": given.host, "port": given.port, "database": given.database, "username": self.role,
        }  # fmt: skip
        admin.rows(f"CREATE ROLE {self.role} LOGIN")
        self.rotate()

    def rotate(self) -> None:
        """From now on another token is good, and the one before is not."""
        with self._lock:
            self._token = f"{CANARY}-{self.role}-{next(self._numbers)}"
            self.admin.rows(f"ALTER ROLE {self.role} PASSWORD '{self._token}' VALID UNTIL 'infinity'")

    def expire(self) -> None:
        """The token's time is up, as far as the server is concerned."""
        self.admin.rows(f"ALTER ROLE {self.role} VALID UNTIL '2001-01-01'")

    def token(self) -> Token:
        with self._lock:
            self.asked += 1
            return Token(self._token, self.end)

    def issue(self) -> Token:
        """A fresh one for each request, as an identity provider gives it."""
        self.rotate()
        return self.token()

    def sessions(self) -> set[int]:
        """The server's processes that the role is logged in to."""
        return {pid for (pid,) in self.admin.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s", self.role)}

    def manager(self, credential=None, **numbers) -> DatabaseConnectionManager:
        numbers = {"min_size": 0, "max_size": 4, "timeout": 20} | numbers
        settings = DatabaseSettings.load(self.address, environ={}, env_file=None)
        return DatabaseConnectionManager(settings, credential=credential or self.token, **numbers)


def whoami(db: DatabaseConnectionManager) -> str:
    """Return the role that a connection of the manager's is logged in as."""
    found: str = db.execute_query("SELECT current_user").scalar()
    return found


class Load:
    """Threads that never stop asking, each for a connection and a query; they keep every error they see."""

    def __init__(self, db, threads=32):
        self.done = [0] * threads
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._tasks = [Task(self._work, db, number) for number in range(threads)]

    def _work(self, db, number):
        while not self._stop.is_set():
            try:
                db.execute_query("SELECT 1")
                self.done[number] += 1
            except BaseException as error:
                self.errors.append(error)

    def goes_on(self, rounds=3):
        """Wait until every thread has been served so many times more."""
        before = self.done.copy()
        eventually(lambda: all(now >= then + rounds for now, then in zip(self.done, before, strict=True)), 30)

    def stop(self):
        self._stop.set()
        for task in self._tasks:
            task.outcome()
