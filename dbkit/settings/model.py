"""The settings themselves: frozen, checked once, every value with its origin."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from dbkit.core.policy import NAMES as POOL
from dbkit.core.policy import PoolPolicy
from dbkit.errors import Fault, SettingsError
from dbkit.settings import sources
from dbkit.settings.check import check
from dbkit.settings.hints import unknown
from dbkit.settings.keys import (
    CREDENTIAL,
    CREDENTIALS,
    DRIVER,
    IDENTITY,
    IDENTITY_ENABLED,
    KEYS,
    MIGRATION_URL,
    NETWORK_TIMEOUT,
    URL_VARIABLE,
    canonical,
)
from dbkit.settings.merge import Merged, read_and_merge, replaced
from dbkit.settings.network import silence_bounded
from dbkit.settings.secret import Secret, Unpicklable
from dbkit.settings.shown import Row, shown, table
from dbkit.settings.sources import DEFAULT, Layer, Setting
from dbkit.settings.url import SqlalchemyUrl
from dbkit.settings.values import SettingValues

if TYPE_CHECKING:
    pass

logger = logging.getLogger("dbkit.settings")

LIBPQ = "libpq"
"""The origin of what is left to libpq: its ``PG*`` variables, service and password files, and built-in defaults."""

Source = str | Secret | Mapping[str, object] | SqlalchemyUrl
"""The first argument of ``load``."""


@dataclass(frozen=True, repr=False)
class DatabaseSettings(SettingValues, Unpicklable):
    """Who connects to what and how, and the pool's numbers, each with where it came from.

    Made by ``load()`` or ``from_ini()``, never by hand. A value that no source sets is absent, so that libpq's own
    sources (``PGHOST``, service files, ``.pgpass``, ...) apply. Passwords are ``Secret``s and show as ``***``. Equal to
    other settings that say the same, wherever they came from. Immutable and hashable; safe to share between threads and
    across a fork; not to be pickled, since that would spill the password.

    Attributes:
        policy: the pool's numbers.
        remarks: notes that are no faults, such as one on a variable that dbkit does not read, though its name suggests
            it. Logged as warnings when the settings are loaded.
    """

    _values: Mapping[str, Setting]
    policy: PoolPolicy = field(compare=False)
    remarks: tuple[str, ...] = field(compare=False)
    _surroundings: Mapping[str, str] = field(compare=False)
    """Of libpq's variables, those that decide the route; no part of what is said."""

    @classmethod
    def load(
        cls,
        source: Source | None = None,
        /,
        *,
        environ: Mapping[str, str] | None = None,
        env_file: str | os.PathLike[str] | None = ".env",
        url_variable: str | None = URL_VARIABLE,
        defaults: Mapping[str, object] | None = None,
        **overrides: object,
    ) -> Self:
        """Gather the settings from everywhere, strongest first: ``overrides``, ``source``, environment, ``env_file``.

        Args:
            source: a URL (text, a ``Secret`` or SQLAlchemy's object) or a mapping of keys; None for neither. In a
                mapping, None means "not set". A URL, or a mapping that names a host, describes one server: no parts of
                another server are mixed in (see ``docs/decisions/settings-sources.md``).
            environ: the environment variables; None for the process's own. ``DATABASE_URL`` and ``DB_*`` are read,
                once; empty ones count as unset.
            env_file: a file of such variables; None for none. Only one called ``.env`` may be missing.
            url_variable: the variable that holds a URL, if not ``DATABASE_URL``; None to read none.
            defaults: values by key for what none of these gives: the weakest source, but over what libpq would do by
                itself. A source that describes a server takes neither an address nor a login of another out of them.
            overrides: single values by key, which replace whatever the rest gives. None means no limit for the pool's
                numbers that may have none (``max_idle``, ``max_lifetime``, ...), and "not set" for any other key.

        Raises:
            SettingsError: naming everything that is wrong, each with its value (never a secret) and its origin.
        """
        merged = read_and_merge(
            overrides=sources.from_overrides(overrides),
            given=sources.from_code(source),
            ini=Layer(),
            defaults=sources.from_defaults(defaults),
            environ=environ,
            env_file=env_file,
            url_variable=url_variable,
        )
        del source, environ, defaults
        overrides.clear()  # no plaintext in this frame when it raises
        return cls._checked(merged)

    @classmethod
    def from_ini(
        cls,
        path: str | os.PathLike[str],
        section: str = "postgresql",
        *,
        environ: Mapping[str, str] | None = None,
        env_file: str | os.PathLike[str] | None = ".env",
        url_variable: str | None = URL_VARIABLE,
        defaults: Mapping[str, object] | None = None,
        **overrides: object,
    ) -> Self:
        """As ``load()``, with one section of an INI file as a source below the environment and above ``defaults``.

        Args:
            path: the file, UTF-8. There is no interpolation, so a ``%`` needs no doubling.
            section: the section to read. Keys are those of ``load()``; others are refused, unless from ``[DEFAULT]``.
            environ: as for ``load()``.
            env_file: as for ``load()``.
            url_variable: as for ``load()``.
            defaults: as for ``load()``.
            overrides: as for ``load()``.

        Raises:
            SettingsError: naming everything that is wrong, a missing file or section too.
        """
        merged = read_and_merge(
            overrides=sources.from_overrides(overrides),
            given=Layer(),
            ini=sources.from_ini(path, section),
            defaults=sources.from_defaults(defaults),
            environ=environ,
            env_file=env_file,
            url_variable=url_variable,
        )
        del environ, defaults
        overrides.clear()
        return cls._checked(merged)

    def replace(self, **overrides: object) -> Self:
        """The same settings with some values replaced, and checked again. None means what it means in ``load()``.

        A password replaces a credential and a credential a password; ``credential="password"`` turns one off.

        Raises:
            SettingsError: naming everything that is wrong.
        """
        adjusted = sources.from_overrides(overrides)
        overrides.clear()
        return self._checked(replaced(adjusted, self._values, self._surroundings))

    def for_migrations(self) -> Self | None:
        """The settings that migrations use, with a pool of one; None where there is no ``migration_url``.

        The URL goes over these settings as one in code goes over the environment: address and login are its own,
        unless it names the same host and user; ``sslmode`` and the like are these settings' where it says nothing.

        Raises:
            SettingsError: the two do not go together.
        """
        given = self._values.get(MIGRATION_URL)
        if given is None or not isinstance(given.value, Secret):
            return None
        rest = {key: setting for key, setting in self._values.items() if key != MIGRATION_URL}
        layer = sources.from_url(given.value, given.origin)
        return self._checked(replaced(layer, rest, self._surroundings)).replace(min_size=0, max_size=1)

    @classmethod
    def _checked(cls, merged: Merged) -> Self:
        good, faults = check(merged.values)
        if merged.faults or faults:
            raise SettingsError([*merged.faults, *faults])
        for remark in merged.remarks:
            logger.warning("%s", remark)
        numbers: dict[str, Any] = {key: good[key].value for key in POOL if key in good}
        return cls(MappingProxyType(good), PoolPolicy.of(**numbers), merged.remarks, merged.surroundings)

    # Where it came from

    def origin(self, key: str) -> str:
        """Where a value came from: ``argument``, ``mapping``, ``URL``, ``environment variable DB_PORT``,
        ``the file .env, DB_PORT``, ``app.ini, [postgresql] port``, ``default``; or ``libpq`` where it is left to that.

        Raises:
            SettingsError: there is no such setting.
        """
        known = canonical(key)
        if known is None:
            raise SettingsError([Fault(key, unknown(key))])
        if known in self._values:
            return self._values[known].origin
        if known in ("password", IDENTITY_ENABLED) and self.credential is not None:
            return self._values[CREDENTIAL].origin
        if known in silence_bounded(self.network_timeout):
            return self._values[NETWORK_TIMEOUT].origin
        return DEFAULT if known in (*POOL, *CREDENTIALS, DRIVER) else LIBPQ

    def describe(self) -> str:
        """A table to print: every setting in force, its value and its origin; secrets as ``***``. Then the remarks."""
        return table(self.rows(), self.remarks)

    def rows(self) -> tuple[Row, ...]:
        """Every setting in force, safe to show: what ``describe()`` prints."""
        rows = []
        for key in KEYS:
            if key in self._values:
                rows.append(Row(key, shown(key, self._values[key].value), self._values[key].origin))
            elif key in POOL:
                rows.append(Row(key, repr(getattr(self.policy, key)), DEFAULT))
            elif key in IDENTITY and not (key == "password" and self.credential is not None):
                rows.append(Row(key, "-", LIBPQ))
        return tuple(rows)

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={shown(key, s.value)} ({s.origin})" for key, s in self._values.items())
        return f"{type(self).__name__}({values})"

    def __hash__(self) -> int:
        return hash(tuple((key, setting.value) for key, setting in self._values.items()))
