"""The settings' names: every key, its other spellings, its variable, and the kind of value it takes.

Pure names. The driver's options are libpq's connection parameters, under libpq's names; the pool's numbers are the
fields of ``PoolPolicy``; the settings of a login are dbkit's own.
"""

from __future__ import annotations

from types import MappingProxyType

from dbkit.core.policy import NAMES as POOL

IDENTITY = ("host", "port", "database", "username", "password")
"""Who connects to what. libpq has other names for two of them: ``dbname`` and ``user``."""

DRIVER = "driver"
"""Which driver connects: ``psycopg2``, ``psycopg`` (psycopg 3), or ``asyncpg`` on an event loop."""

CREDENTIAL = "credential"
IDENTITY_ENABLED = "identity_enabled"
CREDENTIAL_SCOPE = "credential_scope"
PASSWORD_FILE = "password_file"
ALLOW_INSECURE_TOKEN = "allow_insecure_token"

CREDENTIALS = (CREDENTIAL, IDENTITY_ENABLED, CREDENTIAL_SCOPE, PASSWORD_FILE, ALLOW_INSECURE_TOKEN)
"""The settings of a login besides the password. libpq is given none of these."""

NETWORK_TIMEOUT = "network_timeout"
"""Seconds a network may be silent while a connection waits for it; see ``network.py``."""

DRIVER_NAMES = MappingProxyType({"database": "dbname", "username": "user"})
"""dbkit's word to libpq's, where they differ."""

MIGRATION_URL = "migration_url"
"""A URL for migrations alone: of the server itself, where everything else goes through a pooler."""

OPTIONS = (
    "hostaddr", "service", "servicefile", "passfile", "application_name", "fallback_application_name",
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "tcp_user_timeout", "target_session_attrs", "load_balance_hosts", "options", "client_encoding",
    "sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcertmode", "sslcrl",
    "sslcrldir", "sslsni", "sslcompression", "sslkeylogfile", "ssl_min_protocol_version", "ssl_max_protocol_version",
    "channel_binding", "require_auth", "requirepeer", "gssencmode", "gsslib", "gssdelegation", "krbsrvname",
    "min_protocol_version", "max_protocol_version", "scram_client_key", "scram_server_key",
    "oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope", "replication",
)  # fmt: skip
"""libpq's other connection parameters, up to libpq 18; which of them work is up to the libpq that is installed."""

KEYS = (*IDENTITY, *CREDENTIALS, DRIVER, MIGRATION_URL, NETWORK_TIMEOUT, *OPTIONS, *POOL)
"""Every setting, in the order they are shown in."""

ALIASES = MappingProxyType(
    {
        "user": "username",
        "dbname": "database",
        "name": "database",
        "min_conn": "min_size",
        "max_conn": "max_size",
    }
)
"""Other spellings of a setting, as psycopg2, libpq and ``DB_*`` files have them."""

LIBPQ_SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})
"""Settings that libpq is given and nobody else."""

SECRETS = LIBPQ_SECRETS | {MIGRATION_URL}
"""Settings whose values are never shown."""

CONCEALED = SECRETS | {CREDENTIAL, PASSWORD_FILE}
"""Settings whose value is not shown while it is in doubt: users put the password itself there."""

ADDRESS = frozenset({"host", "hostaddr", "port", "database", "service", "servicefile", MIGRATION_URL})
"""Where the server is. A URL gives these together or leaves them to libpq; they are not filled from elsewhere."""

OF_A_USER = SECRETS | {"passfile", "sslcert", "sslkey", CREDENTIAL_SCOPE, ALLOW_INSECURE_TOKEN}
"""The settings that belong to one user of one server; ``password`` stands for the login as a whole."""

OF_A_SERVER = OF_A_USER | {"username"}
"""A user and all that belongs to it. It goes only to the server it was given for."""

FLAGS = frozenset({"keepalives", "sslcompression", "sslsni", "gssdelegation"})
"""Driver options that are 0 or 1."""

SWITCHES = frozenset({IDENTITY_ENABLED, ALLOW_INSECURE_TOKEN})
"""Settings that are true or false."""

NUMBERS = MappingProxyType(
    {
        NETWORK_TIMEOUT: "seconds",
        "connect_timeout": "seconds",
        "keepalives_idle": "seconds",
        "keepalives_interval": "seconds",
        "keepalives_count": "probes",
        "tcp_user_timeout": "milliseconds",
    }
)
"""Settings of a connection that are whole numbers, and of what."""

CHOICES = MappingProxyType(
    {
        DRIVER: ("psycopg2", "psycopg", "asyncpg"),
        CREDENTIAL: ("password", "azure", "aws", "gcp", "file"),
        "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
        "load_balance_hosts": ("disable", "random"),
        "gssencmode": ("disable", "prefer", "require"),
        "channel_binding": ("disable", "prefer", "require"),
        "sslnegotiation": ("postgres", "direct"),
        "sslcertmode": ("disable", "allow", "require"),
    }
)
"""Settings that are one word of a few."""

URL_VARIABLE = "DATABASE_URL"

LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSERVICE")
"""libpq's variables that decide where it connects to and how, where the settings do not."""

_NOT_FROM_VARIABLES = frozenset({"service", "servicefile", "replication"})
"""``DB_SERVICE`` is commonly the name of a container, and a replicating session has no place in a pool."""

SPELLINGS = (*KEYS, *ALIASES)
"""Every setting under every name it has."""

_UNPREFIXED = frozenset({IDENTITY_ENABLED})
"""Known to older programs under its bare name."""

VARIABLES = MappingProxyType(
    {
        ("" if name in _UNPREFIXED else "DB_") + name.upper(): name
        for name in SPELLINGS
        if name not in _NOT_FROM_VARIABLES
    }
)
"""Every variable dbkit reads besides ``DATABASE_URL``, with the key it gives, as written."""


def canonical(name: str) -> str | None:
    """The setting that ``name`` spells, or None where there is none."""
    name = ALIASES.get(name, name)
    return name if name in KEYS else None
