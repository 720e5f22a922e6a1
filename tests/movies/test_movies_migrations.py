"""The revisions build exactly what the models declare, and each takes down exactly what it built."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from dbkit import DatabaseConnectionManager
from examples.movies.models import Base

STEPS = ("0001_movies_users_orders", "0002_movie_search")

DEFINITIONS = text("""
    SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'column', table_name::text, column_name::text,
           concat_ws(' ', data_type, is_nullable, column_default, is_identity)
    FROM information_schema.columns WHERE table_schema = 'public'
    ORDER BY 1, 2, 3
""")


def structure(connection: Connection) -> list[Any]:
    return [tuple(row) for row in connection.execute(DEFINITIONS) if row[1] != "alembic_version"]


def test_up_and_down_step_by_step(database: str) -> None:
    with DatabaseConnectionManager(database) as db:
        seen = []
        for revision in STEPS:
            db.migrate(revision)
            with db.engine.connect() as connection:
                assert MigrationContext.configure(connection).get_current_revision() == revision
                seen.append(structure(connection))
        assert seen[0] != seen[1]
        db.downgrade(STEPS[0])
        with db.engine.connect() as connection:
            assert structure(connection) == seen[0]
        db.downgrade("base")
        with db.engine.connect() as connection:
            assert structure(connection) == []
        db.migrate("head")
        with db.engine.connect() as connection:
            assert structure(connection) == seen[1]


def test_the_migrated_database_is_what_the_models_declare(server: Any, dbkit_shared: DatabaseConnectionManager) -> None:
    with dbkit_shared.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
        migrated = structure(connection)
    with DatabaseConnectionManager(server.create_database("movies_models")) as db, db.engine.begin() as connection:
        Base.metadata.create_all(connection)
        assert structure(connection) == migrated
    server.drop_database("movies_models")
