"""Predictable names for constraints and indexes.

A constraint without a name gets one from the server, and a later migration cannot drop what it cannot name. Hand this
to the metadata of your models, and ``alembic revision --autogenerate`` and ``alembic check`` know every name::

    class Base(DeclarativeBase):
        metadata = MetaData(naming_convention=NAMING_CONVENTION)
"""

from __future__ import annotations

from typing import Final

NAMING_CONVENTION: Final[dict[str, str]] = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""For ``MetaData(naming_convention=...)``. The ``_N_`` forms name every column, so two composite keys never collide."""
