"""Alembic migrations through the engine's own pool, from a program and from the command line alike.

A program calls ``upgrade(db)`` (``db.migrate()``); ``alembic upgrade head`` asks the environment for the database.
Both run the project's ``env.py``, which consists of one call::

    run_migrations(context, Base.metadata, otherwise=DatabaseConnectionManager)

``python -m dbkit.migrate init`` writes a folder with such an ``env.py``; ``alembic init -t`` takes the same template
(``dbkit/migrate/template``).

Alembic itself is imported when a migration runs, not before.
"""

from dbkit.migrate.env import run_migrations
from dbkit.migrate.errors import PoolerError, RevisionFailedError
from dbkit.migrate.revisions import Revision
from dbkit.migrate.run import check, current, downgrade, history, stamp, upgrade

__all__ = [
    "PoolerError",
    "Revision",
    "RevisionFailedError",
    "check",
    "current",
    "downgrade",
    "history",
    "run_migrations",
    "stamp",
    "upgrade",
]
