"""From settings to an engine on ``ElasticPool``, and the one place where a password meets the driver.

Invariants: the engine's URL, the connector's ``repr``, and whatever a failed connect raises hold no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import psycopg2
from sqlalchemy import URL, Connection, create_engine, exc

from dbkit.pool.elastic import ElasticPool
from dbkit.pool.policy import NAMES

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dbkit.settings import DatabaseSettings, Secret

_OURS = frozenset({"creator", "module", "pool", "poolclass", "pool_size", "max_overflow", "pool_timeout", *NAMES})
"""What ``create_engine`` takes and dbkit decides."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Connector:
    """Opens one connection when it is called: what the pool uses for every physical connect.

    Thread-safe. Shows no secret, neither in its ``repr`` nor in the traceback of a connect that fails.
    """

    __slots__ = ("_params", "_secrets", "_target")

    def __init__(self, target: str, params: Mapping[str, Any], secrets: Mapping[str, Secret]) -> None:
        self._target = target
        self._params = dict(params)
        self._secrets = dict(secrets)

    def password(self) -> Secret | None:
        """The password for a connect made now; None leaves it to libpq. Asked anew for each physical connect."""
        return self._secrets.get("password")

    def __call__(self) -> psycopg2.extensions.connection:
        try:
            return self._connect(**self._params, **self._revealed())
        except BaseException as error:  # noqa: BLE001 - passed on
            # the frames below hold the password in their locals, and error trackers record locals
            raise error.with_traceback(None) from None

    _connect: Callable[..., psycopg2.extensions.connection] = staticmethod(psycopg2.connect)

    def _revealed(self) -> dict[str, str]:
        secrets = {**self._secrets, "password": self.password()}
        return {key: secret.reveal() for key, secret in secrets.items() if secret is not None}

    def __repr__(self) -> str:
        return f"<Connector to {self._target}>"


def build_engine(settings: DatabaseSettings, *, engine_options: Mapping[str, Any] = _EMPTY) -> Engine:
    """An engine on ``postgresql+psycopg2`` whose pool is an ``ElasticPool`` with the policy of ``settings``.

    Opens no connection. ``engine.url`` tells where the engine connects to, without any secret or driver option.

    Args:
        settings: who connects to what, and the pool's numbers.
        engine_options: further keyword arguments for ``sqlalchemy.create_engine``: ``echo``, ``isolation_level``,
            ``json_serializer``, ``hide_parameters``, ``execution_options``, ``plugins``, ``pool_pre_ping``, ...
            ``connect_args`` goes to ``psycopg2.connect`` beside the settings, for what is no libpq parameter
            (``connection_factory``, ``cursor_factory``).

    Raises:
        sqlalchemy.exc.ArgumentError: an engine option that the settings decide.
        TypeError: an option ``create_engine`` does not know.
    """
    options = dict(engine_options)
    taken = sorted(_OURS & options.keys())
    if taken:
        raise exc.ArgumentError(
            f"engine_options cannot hold {', '.join(taken)}: the driver and the pool are dbkit's. Give the pool's "
            f"numbers as settings or as keyword arguments: {', '.join(NAMES)}."
        )
    arguments = dict(options.pop("connect_args", None) or {})
    params = settings.connect_params()
    twice = sorted(
        arguments.keys() & {*params, "dsn", "user", "host", "port", "dbname", "password", *settings.secrets()}
    )
    if twice:
        raise exc.ArgumentError(f"connect_args cannot hold {', '.join(twice)}: give it to the settings instead.")
    if options.get("require_writer"):
        params.setdefault("target_session_attrs", "read-write")  # else libpq stops at the first host that answers
    policy = asdict(settings.policy)
    return create_engine(
        _url(settings),
        creator=Connector(settings.target, {**params, **arguments}, settings.secrets()),
        poolclass=ElasticPool,
        pool_timeout=policy.pop("timeout"),  # create_engine's word for it
        **policy,
        **options,
    )


def _url(settings: DatabaseSettings) -> URL:
    """The URL to show. Several hosts and socket folders stand in its query, as SQLAlchemy writes them."""
    host, port = settings.host, settings.port
    query: dict[str, str] = {}
    if host is not None and ("," in host or host.startswith(("/", "@"))):
        query["host"] = host
        if port is not None:
            count = host.count(",") + 1
            query["port"] = str(port) if "," in str(port) else ",".join([str(port)] * count)
        host = port = None
    return URL.create(
        "postgresql+psycopg2",
        username=settings.username,
        host=host,
        port=int(port) if port is not None else None,
        database=settings.database,
        query=query,
    )


def warm_up(engine: Engine, timeout: float | None = None) -> None:
    """Have the engine's ``ElasticPool`` open ``min_size`` connections now, in parallel.

    Args:
        engine: made by ``build_engine``.
        timeout: seconds to wait in all; the pool's own ``timeout`` if None.

    Raises:
        sqlalchemy.exc.OperationalError: a connect failed; the driver's error is its cause.
        PoolTimeoutError: they were not there in time.
    """
    try:
        cast("ElasticPool", engine.pool).warm_up(timeout)
    except psycopg2.Error as error:
        Connection._handle_dbapi_exception_noconnection(error, engine.dialect, engine)
