"""factory-boy's factories, in the session of the test that runs."""

from __future__ import annotations

from factory.alchemy import SQLAlchemyModelFactory

from dbkit.testing.rollback import current


class ModelFactory(SQLAlchemyModelFactory):
    """The base of factories whose rows live in the test's transaction: flushed, never committed.

    ::

        class UserFactory(ModelFactory):
            class Meta:
                model = User

            email = factory.Sequence(lambda n: f"user{n}@example.org")
    """

    class Meta:
        abstract = True
        sqlalchemy_session_factory = current
        sqlalchemy_session_persistence = "flush"
