"""Common ground of models: names for their constraints, types for their columns, and when a row was written."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, MetaData, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dbkit.naming import NAMING_CONVENTION

TYPES: Final[dict[Any, Any]] = {datetime: DateTime(timezone=True), str: Text}
"""Moments have a time zone, and text has no limit: in PostgreSQL the other choices save nothing."""


class Conventions:
    """Gives a declarative base ``NAMING_CONVENTION`` and ``TYPES``: ``class Base(Conventions, DeclarativeBase)``.

    Each base has a ``MetaData`` of its own. A base that has ``metadata`` keeps it; a ``type_annotation_map`` goes over
    ``TYPES``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        if DeclarativeBase in cls.__bases__:
            own: dict[str, Any] = dict(vars(cls))
            base: Any = cls  # SQLAlchemy reads these two off the class that names DeclarativeBase
            if "metadata" not in own:
                base.metadata = MetaData(naming_convention=NAMING_CONVENTION)
            base.type_annotation_map = {**TYPES, **own.get("type_annotation_map", {})}
        super().__init_subclass__(**options)


class CreatedAt:
    """A column ``created_at``: when the row's transaction began, by the server's clock."""

    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class UpdatedAt:
    """A column ``updated_at``: the same, of the last transaction in which SQLAlchemy updated the row.

    An ``UPDATE`` that goes past SQLAlchemy does not touch it; that takes a trigger.
    """

    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )
