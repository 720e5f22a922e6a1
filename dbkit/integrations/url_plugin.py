"""``?plugin=dbkit``: the pool under any application that takes a SQLAlchemy URL, with no change of its code.

SQLAlchemy finds ``UrlPlugin`` by its entry point. Applications do not import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import URL, CreateEnginePlugin
from sqlalchemy.pool import NullPool

from dbkit.core.policy import NAMES, find_faults, read_number, truth
from dbkit.errors import Fault
from dbkit.pool.base import BasePool
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.elastic_asyncio import AsyncElasticPool
from dbkit.pool.errors import PoolSettingsError
from dbkit.settings.hints import meant_keyword

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "dbkit_"
"""How the names of the URL's keys begin."""

_OTHERS: Final = ("require_writer", "reset", "logging_name")
"""Arguments of ``ElasticPool`` that a URL may give, beside the pool's numbers."""

KEYS: Final = (*NAMES, *_OTHERS)
"""All that a URL may give, without the prefix."""

_ARGUMENTS: Final = {"timeout": "pool_timeout", "logging_name": "pool_logging_name"}
"""``create_engine``'s words, where they are not the pool's."""


class UrlPlugin(CreateEnginePlugin):
    """Puts an ``ElasticPool`` under an engine whose URL says ``plugin=dbkit``; ``AsyncElasticPool`` on an event loop.

    ::

        postgresql+psycopg2://app@db.example/shop?plugin=dbkit&dbkit_min_size=2&dbkit_max_size=20

    Each number of ``PoolPolicy`` is a key with ``dbkit_`` before it; times are seconds, and ``none`` is no limit where
    that is allowed. So are ``dbkit_require_writer``, ``dbkit_reset`` and ``dbkit_logging_name``, the pool's name in
    logs and metrics. Arguments of ``create_engine`` go on working; one that contradicts the URL is refused.

    A program that asks for no pool at all (``poolclass=NullPool``, as in Alembic's ``env.py``) gets none: the keys are
    checked, and not used.

    Args:
        url: as the application gave it.
        kwargs: ``create_engine``'s; the pool and its numbers are put in.

    Raises:
        SettingsError: naming every key that is unknown, bad, or contradicts an argument. It is SQLAlchemy's
            ``ArgumentError`` too.
    """

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        self._keys = [key for key in url.query if key.lower().startswith(PREFIX.rstrip("_"))]
        given = {key: url.query[key] for key in self._keys}
        values, faults = _read(given)
        poolclass = kwargs.get("poolclass")
        wants_no_pool = isinstance(poolclass, type) and issubclass(poolclass, NullPool)
        if not wants_no_pool:
            faults += _contradictions(values, kwargs)
        if faults:
            raise PoolSettingsError(faults)
        if wants_no_pool:
            return
        kwargs.setdefault("poolclass", AsyncElasticPool if _is_async(url, kwargs) else ElasticPool)
        for name, value in values.items():
            kwargs[_ARGUMENTS.get(name, name)] = value

    def update_url(self, url: URL) -> URL:
        """The URL for the driver, which knows nothing of dbkit's keys."""
        return url.difference_update_query(self._keys)


def _is_async(url: URL, kwargs: Mapping[str, Any]) -> bool:
    """Whether the engine is for an event loop; ``create_async_engine`` says so to the plugins, too."""
    return bool(kwargs.get("_is_async") or url.get_dialect().is_async)


def _read(given: Mapping[str, str | tuple[str, ...]]) -> tuple[dict[str, Any], list[Fault]]:
    """The values that the URL's keys spell, by name, and what is wrong with them."""
    values: dict[str, Any] = {}
    faults = []
    for key, text in given.items():
        name = key.removeprefix(PREFIX)
        if name not in KEYS or not key.startswith(PREFIX):
            faults.append(Fault(key, _unknown(key), origin="URL"))
        elif not isinstance(text, str):
            faults.append(Fault(key, f"must be given once, and is given {len(text)} times", origin="URL"))
        elif name == "require_writer" and truth(text) is None:
            faults.append(Fault(key, "must be true or false", repr(text), "URL"))
        elif name == "reset" and text not in ("rollback", "discard"):
            faults.append(Fault(key, "must be 'rollback' or 'discard'", repr(text), "URL"))
        else:
            values[name] = _value(name, text)
    numbers = {name: value for name, value in values.items() if name in NAMES}
    return values, faults + find_faults(numbers, dict.fromkeys(numbers, "URL"))


def _value(name: str, text: str) -> Any:
    if name == "require_writer":
        return truth(text)
    return text if name in _OTHERS else read_number(name, text)


def _unknown(key: str) -> str:
    bare = key.lower().removeprefix(PREFIX)
    known = [PREFIX + name for name in KEYS]
    hint = meant_keyword(bare, KEYS)
    if hint is not None and hint.startswith("did you mean"):
        return "there is no such key; " + hint.replace("'", f"'{PREFIX}", 1)
    return f"there is no such key; there are {', '.join(known)}"


def _contradictions(values: Mapping[str, Any], kwargs: Mapping[str, Any]) -> list[Fault]:
    """What the arguments of ``create_engine`` say otherwise than the URL."""
    faults = []
    poolclass = kwargs.get("poolclass")
    if kwargs.get("pool") is not None:
        faults.append(Fault("pool", "the URL's plugin=dbkit makes the pool: leave one of them out"))
    if poolclass is not None and not (isinstance(poolclass, type) and issubclass(poolclass, BasePool)):
        shown = getattr(poolclass, "__name__", repr(poolclass))
        faults.append(Fault("poolclass", "the URL's plugin=dbkit asks for ElasticPool: leave one of them out", shown))
    for name, value in values.items():
        argument = _ARGUMENTS.get(name, name)
        if argument in kwargs and (other := _argument_value(name, kwargs[argument])) != value:
            reason = f"create_engine's {argument}={other!r} says otherwise: leave one of them out"
            faults.append(Fault(PREFIX + name, reason, repr(value), "URL"))
    return faults


def _argument_value(name: str, given: Any) -> Any:
    if name == "require_writer":
        return truth(given)
    return given if name in _OTHERS else read_number(name, given)
