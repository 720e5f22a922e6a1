"""A primary and its synchronous hot standby, and what a client needs to follow the one that may be written to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dbkit.embedded import EmbeddedPostgres
from dbkit.testing.places import memory_folder

from ..pool.helpers import eventually
from ..standby import Node, free_port, standby_of
from .entrants import params_of

SETTINGS = {"wal_level": "replica", "max_wal_senders": 4, "hot_standby": True, "synchronous_commit": True}


@dataclass(frozen=True)
class Pair:
    """Two servers, of which the first may be written to.

    Attributes:
        first: the primary.
        second: its standby, to which every commit goes before it is acknowledged.
    """

    first: EmbeddedPostgres
    second: Node

    def params(self) -> dict[str, Any]:
        """libpq's parameters for whichever may be written to."""
        port = urlsplit(self.second.url).port
        both = {"host": "127.0.0.1,127.0.0.1", "port": f"{self.first.port},{port}"}
        return params_of(self.first, **both, target_session_attrs="read-write")

    def params_of_second(self) -> dict[str, Any]:
        """libpq's parameters for the second, once it may be written to."""
        return self.params() | {"host": "127.0.0.1", "port": urlsplit(self.second.url).port}


@contextmanager
def pair() -> Iterator[Pair]:
    """Start both, with a table ``written (n int)``; the standby is in step."""
    folder = Path(tempfile.mkdtemp(dir=memory_folder()))
    folder.chmod(0o711)
    try:
        with EmbeddedPostgres.start(folder / "a", durable=False, settings=SETTINGS) as first:
            first.execute("CREATE TABLE written (n int)")
            with standby_of(first, folder / "b", free_port()) as second:
                first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                first.execute("SELECT pg_reload_conf()")
                eventually(lambda: first.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)])
                yield Pair(first, second)
    finally:
        shutil.rmtree(folder)
