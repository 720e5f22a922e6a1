"""For models: conventions for a declarative base, timestamps, and a small repository. SQLAlchemy is the ORM.

::

    class Base(Conventions, DeclarativeBase):
        pass


    class User(CreatedAt, Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(unique=True)


    users = Repository(db, User)
    page = users.list(limit=50)
    page = users.list(limit=50, after=page.next)

Imports SQLAlchemy's ORM, which ``import dbkit`` does not.
"""

from dbkit.models.base import Conventions, CreatedAt, UpdatedAt
from dbkit.models.repository import Page, Repository

__all__ = ["Conventions", "CreatedAt", "Page", "Repository", "UpdatedAt"]
