"""What tests of an application need: so far a real PostgreSQL, from the extra ``embedded``."""

from dbkit.embedded import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
