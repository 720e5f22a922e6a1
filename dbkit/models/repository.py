"""A small repository: what nearly every table is asked for. Whatever is more than that is a query of your own."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sqlalchemy import func, inspect, literal, select, tuple_

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute, Mapper, Session

T = TypeVar("T")


class HasScopes(Protocol):
    """A ``DatabaseConnectionManager``, or whatever stands in for one in tests."""

    def session_scope(self) -> AbstractContextManager[Session]: ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the objects, in order.

    Attributes:
        items: the objects.
        next: give it to ``list(after=...)`` for those that follow; None if there are none.
    """

    items: tuple[T, ...]
    next: tuple[Any, ...] | None


class Repository(Generic[T]):
    """The rows of one table as objects. Each method is a transaction of its own, committed when it returns.

    The objects belong to no session afterwards, with their columns loaded; a relationship that is to be read must be
    loaded by a query of your own. Safe to share between threads.

    Args:
        db: gives the sessions: the manager.
        model: the mapped class.
    """

    def __init__(self, db: HasScopes, model: type[T]) -> None:
        self._db = db
        self._model = model

    def get(self, key: Any) -> T | None:
        """The object of that primary key (a tuple where it has several columns), or None."""
        with self._db.session_scope() as session:
            found = session.get(self._model, key)
            session.expunge_all()
        return found

    def list(
        self,
        *where: ColumnElement[bool],
        order_by: Sequence[InstrumentedAttribute[Any]] = (),
        descending: bool = False,
        after: tuple[Any, ...] | None = None,
        limit: int = 100,
    ) -> Page[T]:
        """Some objects, and the place where the next ones begin.

        The next page is found by an index and not by counting, so that the thousandth costs what the first does, and
        rows that come and go meanwhile do not shift it.

        Args:
            where: conditions; all must hold.
            order_by: columns without NULLs; the primary key decides between equals.
            descending: begin at the other end.
            after: ``next`` of the page before, with the same order.
            limit: how many objects at most.

        Raises:
            ValueError: a column may be NULL, ``after`` is of another order, or ``limit`` is less than 1.
        """
        columns = self._order(order_by)
        if limit < 1:
            raise ValueError(f"limit={limit}: must be 1 or more")
        query: Any = select(self._model).where(*where)
        if after is not None:
            if len(after) != len(columns):
                raise ValueError(f"after has {len(after)} values, and the order {len(columns)} columns")
            here = tuple_(*columns)
            there = tuple_(*(literal(value, column.type) for value, column in zip(after, columns, strict=True)))
            query = query.where(here < there if descending else here > there)
        query = query.order_by(*(column.desc() if descending else column for column in columns)).limit(limit + 1)
        with self._db.session_scope() as session:
            found: Sequence[T] = session.scalars(query).all()
            session.expunge_all()
        items = tuple(found[:limit])
        last = items[-1] if len(found) > limit else None
        return Page(items, None if last is None else tuple(getattr(last, column.key) for column in columns))

    def add(self, item: T) -> T:
        """Insert a new object, with what it refers to. Defaults that the server gave are known afterwards.

        Raises:
            sqlalchemy.exc.IntegrityError: the database refuses one of its values.
        """
        with self._db.session_scope() as session:
            session.add(item)
            session.flush()
            session.expunge_all()
        return item

    def remove(self, key: Any) -> bool:
        """Delete the object of that primary key, with what is to go with it by its ``cascade``.

        Returns:
            Whether there was one.

        Raises:
            sqlalchemy.exc.IntegrityError: other rows need it.
        """
        with self._db.session_scope() as session:
            found = session.get(self._model, key)
            if found is not None:
                session.delete(found)
        return found is not None

    def exists(self, *where: ColumnElement[bool]) -> bool:
        """Whether there is a row for which all the conditions hold."""
        with self._db.session_scope() as session:
            return bool(session.scalar(select(select(self._model).where(*where).exists())))

    def count(self, *where: ColumnElement[bool]) -> int:
        """How many rows there are for which all the conditions hold. Reads them all: it is as slow as they are many."""
        with self._db.session_scope() as session:
            found: int = session.scalars(select(func.count()).select_from(self._model).where(*where)).one()
        return found

    def _order(self, order_by: Sequence[InstrumentedAttribute[Any]]) -> builtins.list[InstrumentedAttribute[Any]]:
        """The columns to order by: those that are asked for, and the primary key."""
        mapper: Mapper[T] = inspect(self._model)
        columns = [*order_by]
        for column in mapper.primary_key:
            attribute: InstrumentedAttribute[Any] = getattr(self._model, mapper.get_property_by_column(column).key)
            if all(attribute is not one for one in columns):
                columns.append(attribute)
        for attribute in columns:
            if getattr(attribute.expression, "nullable", True):
                raise ValueError(
                    f"{attribute} may be NULL, which comes neither before nor after a value: order by another"
                )
        return columns
