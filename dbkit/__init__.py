"""dbkit: one elastic, fair connection pool for everything a Python program asks of PostgreSQL.

Names are imported when they are first used: a program that only wants ``ElasticPool`` loads neither the settings nor
the session layer.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbkit.core.policy import PoolPolicy
    from dbkit.core.profile import Profile
    from dbkit.core.stats import PoolStats
    from dbkit.credentials.errors import CredentialError
    from dbkit.errors import (
        DbkitError,
        EmbeddedServerError,
        ExtraMissingError,
        Fault,
        MigrationError,
        PatchedTooLateError,
        SettingsError,
    )
    from dbkit.manager import DatabaseConnectionManager
    from dbkit.manager_asyncio import AsyncDatabaseConnectionManager
    from dbkit.naming import NAMING_CONVENTION
    from dbkit.pool.elastic import ElasticPool
    from dbkit.pool.elastic_asyncio import AsyncElasticPool
    from dbkit.pool.errors import (
        ConnectCancelledError,
        DeadlineExceeded,
        LineFullError,
        PoolClosedError,
        PoolTimeoutError,
        TwoLoopsError,
    )
    from dbkit.runtime.endpoints import endpoint
    from dbkit.session.errors import CommitOutcomeUnknown, ResultUnreadableError
    from dbkit.session.result import QueryResult
    from dbkit.settings import DatabaseSettings

_HOMES = {
    "dbkit.core.policy": ("PoolPolicy",),
    "dbkit.core.profile": ("Profile",),
    "dbkit.core.stats": ("PoolStats",),
    "dbkit.credentials.errors": ("CredentialError",),
    "dbkit.errors": (
        "DbkitError",
        "EmbeddedServerError",
        "ExtraMissingError",
        "Fault",
        "MigrationError",
        "PatchedTooLateError",
        "SettingsError",
    ),
    "dbkit.manager": ("DatabaseConnectionManager",),
    "dbkit.manager_asyncio": ("AsyncDatabaseConnectionManager",),
    "dbkit.naming": ("NAMING_CONVENTION",),
    "dbkit.pool.elastic": ("ElasticPool",),
    "dbkit.pool.elastic_asyncio": ("AsyncElasticPool",),
    "dbkit.pool.errors": (
        "ConnectCancelledError",
        "DeadlineExceeded",
        "LineFullError",
        "PoolClosedError",
        "PoolTimeoutError",
        "TwoLoopsError",
    ),
    "dbkit.runtime.endpoints": ("endpoint",),
    "dbkit.session.errors": ("CommitOutcomeUnknown", "ResultUnreadableError"),
    "dbkit.session.result": ("QueryResult",),
    "dbkit.settings": ("DatabaseSettings",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "NAMING_CONVENTION",
    "AsyncDatabaseConnectionManager",
    "AsyncElasticPool",
    "CommitOutcomeUnknown",
    "ConnectCancelledError",
    "CredentialError",
    "DatabaseConnectionManager",
    "DatabaseSettings",
    "DbkitError",
    "DeadlineExceeded",
    "ElasticPool",
    "EmbeddedServerError",
    "ExtraMissingError",
    "Fault",
    "LineFullError",
    "MigrationError",
    "PatchedTooLateError",
    "PoolClosedError",
    "PoolPolicy",
    "PoolStats",
    "PoolTimeoutError",
    "Profile",
    "QueryResult",
    "ResultUnreadableError",
    "SettingsError",
    "TwoLoopsError",
    "endpoint",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("dbkit-postgres")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
