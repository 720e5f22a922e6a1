"""Alembic migrations through the pool: from a program (``upgrade``, ...) and from ``env.py`` (``run_migrations``)."""

from dbkit.migrate.run import check, current, downgrade, run_migrations, upgrade

__all__ = ["check", "current", "downgrade", "run_migrations", "upgrade"]
