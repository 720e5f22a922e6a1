"""A real PostgreSQL for tests, demonstrations and local work: ``EmbeddedPostgres``, or ``python -m dbkit.embedded``."""

from dbkit.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
