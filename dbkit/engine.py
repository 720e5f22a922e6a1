"""From settings to an engine on ``ElasticPool``. Its URL shows no secret."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import URL, Connection, create_engine, exc

from dbkit.connector import DEFAULT_PORT, Connector, Pace, origins
from dbkit.core.policy import NAMES
from dbkit.credentials.base import without_tracebacks
from dbkit.credentials.resolve import choose
from dbkit.drivers import connect_failures, dbapi_module, for_dialect
from dbkit.drivers.bounded import bound_statements
from dbkit.drivers.commits import check_commits
from dbkit.errors import Fault, SettingsError
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.internals import creator_of
from dbkit.runtime.addresses import Addresses
from dbkit.settings.sources import DEFAULT

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dbkit.credentials.resolve import Given
    from dbkit.pool.base import BasePool
    from dbkit.settings import DatabaseSettings

_OURS = frozenset({"creator", "module", "pool", "poolclass", "pool_size", "max_overflow", "pool_timeout", *NAMES})
"""Arguments of ``create_engine`` that dbkit decides."""

_THE_SETTINGS_OWN = frozenset(
    {"dsn", "conninfo", "user", "password", "host", "hostaddr", "port", "dbname", "service", "servicefile", "sslmode"}
)
"""Arguments of the driver's ``connect`` that the settings must know: they decide who connects where, and how safely."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def build_engine(
    settings: DatabaseSettings,
    *,
    credential: Given | None = None,
    engine_options: Mapping[str, Any] = _EMPTY,
    on_loop: bool = False,
) -> Engine:
    """An engine for PostgreSQL, on an ``ElasticPool`` with the policy of ``settings``; if ``on_loop``, on an
    ``AsyncElasticPool``.

    Opens no connection. The driver is ``settings.driver``. ``engine.url`` tells where the engine connects to, without
    any secret or driver option.

    Args:
        settings: who connects to what, and the pool's numbers.
        credential: gives the password or token for each connection attempt, in place of what the settings say.
        engine_options: further keyword arguments for ``sqlalchemy.create_engine``: ``echo``, ``isolation_level``,
            ``json_serializer``, ``hide_parameters``, ``execution_options``, ``plugins``, ``pool_pre_ping``, ...
            ``connect_args`` goes to the driver's ``connect`` beside the settings, for what is no libpq parameter
            (``cursor_factory``, psycopg2's ``connection_factory``, psycopg 3's ``prepare_threshold``).
        on_loop: for an event loop: ``AsyncEngine(build_engine(..., on_loop=True))``.

    Raises:
        sqlalchemy.exc.ArgumentError: an engine option that the settings decide.
        TypeError: an option ``create_engine`` does not know.
        SettingsError: what was given is no credential, does not fit the settings, or gives tokens that must not travel
            over their route.
        CredentialError, DriverMissingError: a package is missing; the message names the extra.
    """
    # Either may hold a password in the clear, and error trackers record the locals of a traceback's frames.
    given = [(credential, engine_options)]
    del credential, engine_options
    try:
        return _build(settings, *given.pop(), on_loop=on_loop)
    except BaseException as error:  # noqa: BLE001 - passed on
        raise without_tracebacks(error)  # noqa: B904 - it is the same error


def _build(
    settings: DatabaseSettings, credential: Given | None, engine_options: Mapping[str, Any], *, on_loop: bool
) -> Engine:
    options = dict(engine_options)
    taken = sorted(_OURS & options.keys())
    if taken:
        raise exc.ArgumentError(
            f"engine_options cannot hold {', '.join(taken)}: the driver and the pool are dbkit's. Give the pool's "
            f"numbers as settings or as keyword arguments: {', '.join(NAMES)}."
        )
    arguments = dict(options.pop("connect_args", None) or {})
    params, secrets = settings.connect_params(), settings.secrets()
    twice = sorted(arguments.keys() & {*params, *secrets, *_THE_SETTINGS_OWN})
    if twice:
        raise exc.ArgumentError(f"connect_args cannot hold {', '.join(twice)}: give it to the settings instead.")
    if options.get("require_writer"):
        params.setdefault("target_session_attrs", "read-write")  # else libpq stops at the first host that answers
    secrets.pop("password", None)  # the credential gives it
    chosen = choose(settings, credential)
    if chosen is not None and not chosen.fixed:
        params.setdefault("gssencmode", "disable")  # else Kerberos would take the place of TLS
    driver = _driver(settings, on_loop=on_loop)
    dbapi_module(driver)
    of_the_dialect: dict[str, Any] = {}
    connector = (_async_connector() if on_loop else Connector)(
        settings.target,
        {**params, **arguments},
        secrets,
        chosen,
        partial(_refusal, settings),
        origins=origins(settings, chosen if credential is not None else None),
        connect=lambda **given: for_dialect(engine.dialect).connect(**(of_the_dialect | given)),
        failures=connect_failures(driver),
        pace=_pace(settings, driver),
    )
    policy = asdict(settings.policy)
    engine = _create(
        _url(settings, driver),
        on_loop=on_loop,
        creator=connector,
        pool_timeout=policy.pop("timeout"),  # create_engine's word for it
        **policy,
        **options,
    )
    check_commits(engine.dialect)
    bound_statements(engine.dialect)
    # With psycopg 3 the dialect asks each connection to share its adapters (JSON, hstore, ...); psycopg2's does not.
    of_the_dialect.update(engine.dialect.create_connect_args(URL.create(engine.url.drivername))[1])
    return engine


def _create(url: URL, *, on_loop: bool, **arguments: Any) -> Engine:
    if not on_loop:
        return create_engine(url, poolclass=ElasticPool, **arguments)
    from sqlalchemy.ext.asyncio import create_async_engine

    from dbkit.pool.elastic_asyncio import AsyncElasticPool

    return create_async_engine(url, poolclass=AsyncElasticPool, **arguments).sync_engine


def _async_connector() -> type[Connector]:
    from dbkit.connector_asyncio import AsyncConnector

    return AsyncConnector


def _driver(settings: DatabaseSettings, *, on_loop: bool) -> str:
    """The driver that connects.

    Raises:
        SettingsError: the one that the settings name is for engines of the other kind.
    """
    driver, origin = settings.driver, settings.origin("driver")
    if on_loop and driver == "psycopg2":
        if origin == DEFAULT:
            return "psycopg"
        reason = "psycopg2 cannot serve an event loop: use psycopg or asyncpg"
    elif not on_loop and driver == "asyncpg":
        reason = "asyncpg serves event loops only: use AsyncDatabaseConnectionManager, or another driver"
    else:
        return driver
    raise SettingsError([Fault("driver", reason, repr(driver), origin)])


def _pace(settings: DatabaseSettings, driver: str) -> Pace | None:
    """How the time of an attempt goes to the server's addresses; None where the user said it."""
    if not settings.leaves_connect_timeout:
        return None
    # asyncpg's time is for a host, with all of its addresses
    addresses = Addresses(settings.route.hosts, look_up=driver != "asyncpg")
    return Pace(addresses, settings.policy.timeout)


def _refusal(settings: DatabaseSettings) -> Fault | None:
    """The reason why no token may be sent where these settings connect to; None if it may."""
    if settings.allow_insecure_token:
        return None
    # libpq reads the process's environment as it is now, which may not be what the settings were loaded from
    reason = settings.route.refusal() or settings.route_by(os.environ).refusal()
    if reason is None:
        return None
    mode = settings.options.get("sslmode")
    shown = "" if mode is None else repr(mode)
    return Fault("sslmode", f"no token is sent to {settings.target}: {reason}", shown, settings.origin("sslmode"))


def _url(settings: DatabaseSettings, driver: str) -> URL:
    """The URL to show. Several hosts and socket folders stand in its query, as SQLAlchemy writes them."""
    host, port = settings.host, settings.port
    query: dict[str, str] = {}
    if host is not None and ("," in host or host.startswith(("/", "@"))):
        query["host"] = host
        if port is None and driver == "asyncpg" and "," in host:
            port = DEFAULT_PORT  # SQLAlchemy refuses several hosts without
        if port is not None:
            count = host.count(",") + 1
            query["port"] = str(port) if "," in str(port) else ",".join([str(port)] * count)
        host = port = None
    return URL.create(
        f"postgresql+{driver}",
        username=settings.username,
        host=host,
        port=int(port) if port is not None else None,
        database=settings.database,
        query=query,
    )


@contextmanager
def migration_engine(
    engine: Engine,
    settings: DatabaseSettings,
    *,
    credential: Given | None = None,
    engine_options: Mapping[str, Any] = _EMPTY,
) -> Iterator[Engine]:
    """The engine for migrations, for the length of the block: ``engine``, or one of its own for a ``migration_url``.

    Args:
        engine: the application's.
        settings: what it was made of.
        credential: what it was made of; used here too where the URL has no password of its own.
        engine_options: what it was made of.

    Raises:
        SettingsError, CredentialError: as ``build_engine``, for the other engine.
    """
    direct = settings.for_migrations()
    given: list[dict[str, Any]] = [{"credential": credential, "engine_options": engine_options}]
    del credential, engine_options  # as in build_engine: where the block raises, this frame is in its traceback
    if direct is None:
        given.clear()
        yield engine
        return
    if direct.password is not None:
        given[0]["credential"] = None
    other = build_engine(direct, **given.pop())
    try:
        yield other
    finally:
        cast("ElasticPool", other.pool).close(0.0)


def warm_up(engine: Engine, timeout: float | None = None) -> None:
    """Open ``min_size`` connections in the engine's ``ElasticPool`` now, in parallel.

    Args:
        engine: made by ``build_engine``.
        timeout: seconds to wait in all; the pool's own ``timeout`` if None.

    Raises:
        sqlalchemy.exc.OperationalError: a connection attempt failed; the driver's error is its cause.
        PoolTimeoutError: they were not there in time.
    """
    try:
        cast("BasePool", engine.pool).open_minimum(timeout)
    except engine.dialect.loaded_dbapi.Error as error:
        Connection._handle_dbapi_exception_noconnection(error, engine.dialect, engine)


def rotate(engine: Engine) -> None:
    """Replace every connection by one that logged in with a fresh password or token, without an interruption.

    Asks the credential first; then the pool replaces its connections in the background, new before old, and those that
    are out when they come back. A pool that is at its ``max_size`` has no room for the new one first.

    Args:
        engine: made by ``build_engine``.

    Raises:
        CredentialError: no fresh token is to be had; nothing was changed.
    """
    pool = cast("BasePool", engine.pool)
    cast("Connector", creator_of(pool)).renew()
    pool.drain()
