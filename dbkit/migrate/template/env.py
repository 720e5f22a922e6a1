"""Runs for every Alembic command: on a program's connection, or on the database that the environment names."""

from functools import partial

from alembic import context

from dbkit import DatabaseConnectionManager
from dbkit.migrate import run_migrations

# For `alembic revision --autogenerate` and `alembic check`:
# from myapp.models import Base
# target_metadata = Base.metadata
target_metadata = None

run_migrations(context, target_metadata, otherwise=partial(DatabaseConnectionManager, min_size=0, max_size=1))
