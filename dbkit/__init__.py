"""dbkit: one elastic, fair connection pool for everything a Python program asks of PostgreSQL."""

from typing import Any

from dbkit.core.policy import PoolPolicy
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
from dbkit.naming import NAMING_CONVENTION
from dbkit.pool.elastic import ElasticPool
from dbkit.pool.errors import DeadlineExceeded, LineFullError, PoolClosedError, PoolTimeoutError
from dbkit.session.errors import CommitOutcomeUnknown, ResultUnreadableError
from dbkit.session.result import QueryResult
from dbkit.settings import DatabaseSettings

__all__ = [
    "NAMING_CONVENTION",
    "CommitOutcomeUnknown",
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
    "QueryResult",
    "ResultUnreadableError",
    "SettingsError",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # on demand: the standard library's metadata reader is slow to import
        from importlib.metadata import version

        return version("dbkit-postgres")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
