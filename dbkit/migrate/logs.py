"""Keeps a program's logging as it is while an ``env.py`` runs inside of it.

The ``env.py`` that ``alembic init`` writes calls ``logging.config.fileConfig``, meant for the command line: it replaces
the root logger's handlers and silences every logger that the ini file does not name, the program's own and dbkit's.
"""

from __future__ import annotations

import logging
from typing import NamedTuple


class _Manner(NamedTuple):
    """The attributes that decide whether a logger's records are seen, and where."""

    handlers: list[logging.Handler]
    level: int
    propagate: bool
    disabled: bool


class ProgramsLogging:
    """The program's loggers as they are now. Belongs to one thread."""

    def __init__(self) -> None:
        known = list(logging.root.manager.loggerDict.values())
        self._manners = {
            logger: _Manner(logger.handlers[:], logger.level, logger.propagate, logger.disabled)
            for logger in (logging.root, *known)
            if isinstance(logger, logging.Logger)
        }

    def put_back(self) -> None:
        """Make the loggers what they were; those that are new stay as they are."""
        for logger, manner in self._manners.items():
            if logger.handlers != manner.handlers:
                logger.handlers[:] = manner.handlers
            if logger.level != manner.level:
                logger.setLevel(manner.level)  # not the attribute: loggers remember what their parents' levels allow
            logger.propagate, logger.disabled = manner.propagate, manner.disabled
