"""Where the tests' databases are, and managers on them."""

from __future__ import annotations

import os
from pathlib import Path

from dbkit.manager import DatabaseConnectionManager
from dbkit.settings import DatabaseSettings

_MEMORY = Path("/dev/shm")
_ROOM = 1 << 30
"""Bytes."""


def memory_folder() -> str | None:
    """A folder in memory with room enough for a server, or None. A database takes 10 ms there, on a disk up to 150."""
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return None
    roomy = found.f_bavail * found.f_frsize > _ROOM
    usable = roomy and not found.f_flag & os.ST_NOEXEC and os.access(_MEMORY, os.W_OK)
    return str(_MEMORY) if usable else None


def manager_on(url: str) -> DatabaseConnectionManager:
    """A manager on exactly this database: the environment and ``.env`` of the developer have no say."""
    settings = DatabaseSettings.load(url, environ={}, env_file=None, min_size=0)
    return DatabaseConnectionManager(settings)
