"""Runs for every Alembic command: on a program's connection, or on the database that the environment names."""

from functools import partial

from alembic import context

from dbkit import DatabaseConnectionManager
from dbkit.migrate import run_migrations
from examples.movies.models import Base

run_migrations(context, Base.metadata, otherwise=partial(DatabaseConnectionManager, min_size=0, max_size=1))
