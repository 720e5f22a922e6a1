"""The pools that an exporter reads: each by its name, found anew at each reading, and never kept alive."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from dbkit.errors import Fault
from dbkit.metrics.readings import read
from dbkit.pool.base import BasePool
from dbkit.pool.errors import PoolSettingsError
from dbkit.pool.internals import logging_name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbkit.metrics.readings import Reading


def engine_of(target: object) -> Engine:
    """The engine of what users have in hand: an engine, one for asyncio, or a ``DatabaseConnectionManager``.

    Raises:
        TypeError: it has none, or none on an ``ElasticPool``.
    """
    found: Any = target
    for attribute in ("engine", "sync_engine"):
        if not isinstance(found, Engine):
            found = getattr(found, attribute, found)
    if not isinstance(found, Engine):
        raise TypeError(f"give an engine or a DatabaseConnectionManager, not {type(target).__name__}")
    if not isinstance(found.pool, BasePool):
        raise TypeError(f"the engine's pool is a {type(found.pool).__name__}: only an ElasticPool counts what is asked")
    return found


def default_name(engine: Engine) -> str:
    """A pool's name: that of ``pool_logging_name``, else ``host:port/database`` as the conventions have it."""
    given = logging_name_of(engine.pool)
    if given:
        return given
    url = engine.url
    host = url.host or (url.query.get("host") if isinstance(url.query.get("host"), str) else None) or "localhost"
    return f"{host}:{url.port or 5432}/{url.database or url.username or ''}"


class Watched:
    """The pools that one exporter reads. Safe to use from any thread."""

    def __init__(self) -> None:
        self._engines: dict[str, weakref.ref[Engine]] = {}

    def add(self, target: object, name: str | None = None) -> str:
        """Read this one too, until it is no more.

        Args:
            target: an engine on an ``ElasticPool``, or a ``DatabaseConnectionManager``.
            name: the pool's; ``default_name`` if None.

        Returns:
            The name.

        Raises:
            TypeError: it has no ``ElasticPool``.
            SettingsError: another pool has that name already; two could not be told apart.
        """
        engine = engine_of(target)
        chosen = default_name(engine) if name is None else name
        taken = self._engines.get(chosen)
        if taken is not None and taken() not in (None, engine):
            reason = "another pool is read under this name: give one of them another (name=, or pool_logging_name)"
            raise PoolSettingsError([Fault("name", reason, repr(chosen))])
        self._engines[chosen] = weakref.ref(engine)
        return chosen

    def remove(self, name: str) -> None:
        """Read it no more."""
        self._engines.pop(name, None)

    def readings(self) -> Iterator[Reading]:
        """All metrics of all pools, each pool at one moment."""
        for name, reference in list(self._engines.items()):
            engine = reference()
            if engine is None:
                self._engines.pop(name, None)
            elif isinstance(engine.pool, BasePool):  # ``engine.dispose()`` puts a new one in
                yield from read(name, engine.pool.stats())
