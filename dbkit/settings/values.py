"""The values of the settings, each by its name, and all that the driver is given."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from dbkit.core.policy import NAMES as POOL
from dbkit.settings.keys import (
    CHOICES,
    CREDENTIAL,
    CREDENTIALS,
    DRIVER,
    DRIVER_NAMES,
    IDENTITY,
    LIBPQ_SECRETS,
    NETWORK_TIMEOUT,
    SECRETS,
)
from dbkit.settings.merge import SERVER_DEFAULTS
from dbkit.settings.network import silence_bounded
from dbkit.settings.secret import Secret
from dbkit.settings.shown import label
from dbkit.settings.sources import DEFAULT

if TYPE_CHECKING:
    from dbkit.settings.route import Route
    from dbkit.settings.sources import Setting


class SettingValues:
    """The values that ``DatabaseSettings`` hold. One that no source sets is None here, and left to libpq."""

    _values: Mapping[str, Setting]
    _surroundings: Mapping[str, str]

    @property
    def host(self) -> str | None:
        """The server's name or address, a socket's folder, or several with commas; None leaves it to libpq."""
        return self._text("host")

    @property
    def port(self) -> int | str | None:
        """The port; several as text with commas; None leaves it to libpq."""
        value = self._get("port")
        return value if isinstance(value, int | str) else None

    @property
    def username(self) -> str | None:
        """The role to log in as; None leaves it to libpq."""
        return self._text("username")

    @property
    def database(self) -> str | None:
        """The database's name; None leaves it to libpq."""
        return self._text("database")

    @property
    def password(self) -> Secret | None:
        """The password; None leaves it to the ``credential`` if there is one, else to libpq (``PGPASSWORD``, ...)."""
        value = self._get("password")
        return value if isinstance(value, Secret) else None

    @property
    def credential(self) -> str | None:
        """The kind of credential: ``azure``, ``aws``, ``gcp`` or ``file``; None for a password, or none at all."""
        return self._text(CREDENTIAL)

    @property
    def credential_scope(self) -> str | None:
        """The OAuth scope to ask a token for; None for the provider's usual one."""
        return self._text("credential_scope")

    @property
    def password_file(self) -> str | None:
        """The absolute path of the file with the password, read at each connection attempt; None without
        ``credential=file``."""
        return self._text("password_file")

    @property
    def driver(self) -> str:
        """The driver that connects: ``psycopg2``, or ``psycopg`` (psycopg 3)."""
        return self._text(DRIVER) or CHOICES[DRIVER][0]

    @property
    def allow_insecure_token(self) -> bool:
        """Whether a token may travel where ``route.refusal()`` says it must not."""
        return self._get("allow_insecure_token") is True

    @property
    def route(self) -> Route:
        """Where a password travels: by these settings, and for the rest by libpq's variables as ``load()`` saw them."""
        return self.route_by(self._surroundings)

    def route_by(self, variables: Mapping[str, str]) -> Route:
        """Where a password travels, by these settings and, for the rest, by these variables of libpq's."""
        from dbkit.settings.route import find_route  # asked for only where a token may be sent

        return find_route(
            host=self.host,
            hostaddr=self._text("hostaddr"),
            sslmode=self._text("sslmode"),
            service=self._text("service"),
            variables=variables,
        )

    @property
    def options(self) -> Mapping[str, object]:
        """libpq's other connection parameters, dbkit's defaults included, secrets not."""
        return MappingProxyType({key: value for key, value in self._libpq().items() if key not in IDENTITY})

    @property
    def network_timeout(self) -> int:
        """Seconds a network may be silent before a connection that waits for it fails; 0 where the system decides."""
        seconds = self._get(NETWORK_TIMEOUT)
        return seconds if isinstance(seconds, int) else 0

    @property
    def leaves_connect_timeout(self) -> bool:
        """Whether ``connect_timeout`` is dbkit's own default, which of several addresses gives each its share."""
        setting = self._values.get("connect_timeout")
        return setting is not None and setting.origin == DEFAULT and setting.value == SERVER_DEFAULTS["connect_timeout"]

    def _libpq(self) -> dict[str, object]:
        """libpq's connection parameters under dbkit's names, without secrets."""
        hidden = {*CREDENTIALS, DRIVER, NETWORK_TIMEOUT, *POOL, *SECRETS}
        values = {key: s.value for key, s in self._values.items() if key not in hidden}
        return silence_bounded(self.network_timeout) | values

    @property
    def target(self) -> str:
        """A short label for messages, without secrets: ``user@host:5432/database``, as far as these are set."""
        return label(
            username=self.username,
            hosts=self.host or str(self._get("hostaddr") or ""),
            ports=str(self.port or ""),
            database=self.database,
            service=self._text("service"),
        )

    def connect_params(self) -> dict[str, object]:
        """Keyword arguments for the driver's ``connect``, in libpq's names, without secrets (see ``secrets()``)."""
        return {DRIVER_NAMES.get(key, key): value for key, value in self._libpq().items()}

    def secrets(self) -> dict[str, Secret]:
        """The secrets that ``connect_params()`` leaves out, still wrapped: ``password``, ``sslpassword``, ..."""
        return {
            key: setting.value
            for key, setting in self._values.items()
            if key in LIBPQ_SECRETS and isinstance(setting.value, Secret)
        }

    def _get(self, key: str) -> object:
        setting = self._values.get(key)
        return setting.value if setting else None

    def _text(self, key: str) -> str | None:
        value = self._get(key)
        return value if isinstance(value, str) else None
