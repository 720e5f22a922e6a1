"""What the settings are called: every key, its other spellings, its variable, and what kind of value it takes.

Pure names. The driver's options are libpq's connection parameters, under libpq's names; the pool's numbers are the
fields of ``PoolPolicy``; how one proves who one is, is dbkit's own.
"""

from __future__ import annotations

from types import MappingProxyType

from dbkit.core.policy import NAMES as POOL

IDENTITY = ("host", "port", "database", "username", "password")
"""Who connects to what. libpq calls two of them otherwise: ``dbname`` and ``user``."""

CREDENTIAL = "credential"
IDENTITY_ENABLED = "identity_enabled"
CREDENTIAL_SCOPE = "credential_scope"
PASSWORD_FILE = "password_file"
ALLOW_INSECURE_TOKEN = "allow_insecure_token"

CREDENTIALS = (CREDENTIAL, IDENTITY_ENABLED, CREDENTIAL_SCOPE, PASSWORD_FILE, ALLOW_INSECURE_TOKEN)
"""How one proves who one is, where that is not a password in the settings. The driver is given none of these."""

DRIVER_NAMES = MappingProxyType({"database": "dbname", "username": "user"})
"""dbkit's word to libpq's, where they differ."""

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

KEYS = (*IDENTITY, *CREDENTIALS, *OPTIONS, *POOL)
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

SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})
"""Settings whose values are never shown."""

CONCEALED = SECRETS | {CREDENTIAL, PASSWORD_FILE}
"""Settings whose value is not shown while it is in doubt: somebody will put the password itself there."""

ADDRESS = frozenset({"host", "hostaddr", "port", "database", "service", "servicefile"})
"""Where the server is. A URL gives these together or leaves them to libpq; they are not filled from elsewhere."""

LOGIN = SECRETS | {"username", "passfile", "sslcert", "sslkey", *CREDENTIALS}
"""What proves who is asking. It goes only to the server it was given for."""

PROOF = LOGIN - {"username"}
"""The part of a login that belongs to one user."""

FLAGS = frozenset({"keepalives", "sslcompression", "sslsni", "gssdelegation"})
"""Driver options that are 0 or 1."""

SWITCHES = frozenset({IDENTITY_ENABLED, ALLOW_INSECURE_TOKEN})
"""Settings that are true or false."""

NUMBERS = MappingProxyType(
    {
        "connect_timeout": "seconds",
        "keepalives_idle": "seconds",
        "keepalives_interval": "seconds",
        "keepalives_count": "probes",
        "tcp_user_timeout": "milliseconds",
    }
)
"""Driver options that are whole numbers, and of what."""

CHOICES = MappingProxyType(
    {
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
"""What libpq lets decide where it connects to and how, where the settings do not."""

_NOT_FROM_VARIABLES = frozenset({"service", "servicefile", "replication"})
"""``DB_SERVICE`` is commonly the name of a container, and a replicating session has no place in a pool."""

_SPELLINGS = (*KEYS, *ALIASES)

_UNPREFIXED = frozenset({IDENTITY_ENABLED})
"""Known to older programs under its bare name."""

VARIABLES = MappingProxyType(
    {
        ("" if name in _UNPREFIXED else "DB_") + name.upper(): name
        for name in _SPELLINGS
        if name not in _NOT_FROM_VARIABLES
    }
)
"""Every variable dbkit reads besides ``DATABASE_URL``, with the key it gives, as written."""

_HINTS = MappingProxyType(
    {
        "url": "give the URL as the first argument",
        "dsn": "give a URL as the first argument",
        "database_url": "give the URL as the first argument",
        "pool_size": "dbkit says min_size and max_size",
        "max_overflow": "dbkit says min_size and max_size",
        "pool_timeout": "did you mean timeout?",
        "pool_recycle": "did you mean max_lifetime?",
        "hostname": "did you mean host?",
        "passwd": "did you mean password?",
        "credentials": "did you mean credential?",
        "managed_identity": "did you mean credential=azure?",
    }
)


def canonical(name: str) -> str | None:
    """The setting that ``name`` spells, or None where there is none."""
    name = ALIASES.get(name, name)
    return name if name in KEYS else None


def unknown(name: str) -> str:
    """What to tell somebody who gave a key that does not exist, with a suggestion where there is one."""
    hint = _HINTS.get(name.lower())
    if hint is None:
        import difflib  # only for a mistake

        close = difflib.get_close_matches(name.lower(), _SPELLINGS, n=1, cutoff=0.7)
        hint = f"did you mean {close[0]}?" if close else "see dbkit.settings for the keys there are"
    return f"there is no such setting; {hint}"


def misspelt(variable: str) -> str | None:
    """The variable of ours that this one, which is not ours, is one slip of the finger away from.

    One letter missing, doubled, wrong or two swapped, or a ``DB_`` too many. A longer name that merely begins like one
    of ours (``DB_HOSTS``, ``DB_PORT_5432_TCP``) is another program's.
    """
    if not variable.startswith("DB_") or variable in VARIABLES:
        return None
    if variable.removeprefix("DB_") in VARIABLES:
        return variable.removeprefix("DB_")
    for ours in VARIABLES:
        if not variable.startswith(ours) and _one_slip(variable, ours):
            return ours
    return None


def _one_slip(a: str, b: str) -> bool:
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[start:] == b[start + 1 :]
    if a[start + 1 :] == b[start + 1 :]:
        return True
    return a[start : start + 2] == b[start : start + 2][::-1] and a[start + 2 :] == b[start + 2 :]
