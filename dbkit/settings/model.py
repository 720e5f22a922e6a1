"""The settings themselves: frozen, checked once, every value with its origin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Self

from dbkit.errors import Fault, SettingsError
from dbkit.pool.policy import NAMES as POOL
from dbkit.pool.policy import OPTIONAL, PoolPolicy
from dbkit.settings import sources
from dbkit.settings.check import check
from dbkit.settings.keys import DRIVER_NAMES, IDENTITY, KEYS, SECRETS, canonical, unknown
from dbkit.settings.merge import DEFAULT, describes_server, finish, lay_over
from dbkit.settings.secret import Secret
from dbkit.settings.sources import Layer, Setting
from dbkit.settings.url import SqlalchemyUrl

LIBPQ = "libpq"
"""The origin of what is left to libpq: its ``PG*`` variables, service and password files, and built-in defaults."""

Source = str | Secret | Mapping[str, object] | SqlalchemyUrl
"""What ``load`` takes for its first argument."""


class DatabaseSettings:
    """Who connects to what and how, and the pool's numbers, each with where it came from.

    Made by ``load()`` or ``from_ini()``, never by hand. What nobody set is absent, so that libpq's own sources
    (``PGHOST``, service files, ``.pgpass``, ...) apply. Passwords are ``Secret``s and show as ``***``. Equal to other
    settings that say the same, wherever they came from. Immutable and hashable; safe to share between threads and
    across a fork; not to be pickled, since that would spill the password.
    """

    __slots__ = ("_policy", "_values")
    _values: Mapping[str, Setting]
    _policy: PoolPolicy

    def __init__(self) -> None:
        raise TypeError("use DatabaseSettings.load(...) or DatabaseSettings.from_ini(...)")

    @classmethod
    def load(
        cls,
        source: Source | None = None,
        /,
        *,
        environ: Mapping[str, str] | None = None,
        env_file: str | os.PathLike[str] | None = ".env",
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
            overrides: single values by key, which replace whatever the rest gives. None means no limit for the pool's
                numbers that may have none (``max_idle``, ``max_lifetime``, ...), and "not set" for any other key.

        Raises:
            SettingsError: naming everything that is wrong, each with its value (never a secret) and its origin.
        """
        given, adjusted = _from_code(source), _from_overrides(overrides)
        variables = os.environ if environ is None else environ
        del source, environ
        overrides.clear()  # no plaintext in this frame when it raises
        merged = lay_over(adjusted, _gather(given, variables, env_file, Layer()), whole=False)
        values, faults = finish(merged, variables)
        del variables
        return cls._checked(values, faults)

    @classmethod
    def from_ini(
        cls,
        path: str | os.PathLike[str],
        section: str = "postgresql",
        *,
        environ: Mapping[str, str] | None = None,
        env_file: str | os.PathLike[str] | None = ".env",
        **overrides: object,
    ) -> Self:
        """As ``load()``, with one section of an INI file as the weakest source: the environment goes over it.

        Args:
            path: the file, UTF-8. There is no interpolation, so a ``%`` needs no doubling.
            section: the section to read. Keys are those of ``load()``; others are refused, unless from ``[DEFAULT]``.
            environ: as for ``load()``.
            env_file: as for ``load()``.
            overrides: as for ``load()``.

        Raises:
            SettingsError: naming everything that is wrong, a missing file or section too.
        """
        adjusted = _from_overrides(overrides)
        variables = os.environ if environ is None else environ
        del environ
        overrides.clear()
        merged = lay_over(adjusted, _gather(Layer(), variables, env_file, sources.from_ini(path, section)), whole=False)
        values, faults = finish(merged, variables)
        del variables
        return cls._checked(values, faults)

    def replace(self, **overrides: object) -> Self:
        """The same settings with some values replaced, checked anew. None means what it means in ``load()``.

        Raises:
            SettingsError: naming everything that is wrong.
        """
        adjusted = _from_overrides(overrides)
        overrides.clear()
        values = dict(self._values)
        if "service" in adjusted.values:  # a service file may set what dbkit defaults
            values = {
                key: setting
                for key, setting in values.items()
                if setting.origin != DEFAULT or key == "fallback_application_name"
            }
        values |= adjusted.values
        read, faults = finish(Layer(values, adjusted.faults), {"PGSERVICE": "-"})  # no new defaults
        return self._checked(read, faults)

    @classmethod
    def _checked(cls, values: Mapping[str, Setting], faults: Iterable[Fault]) -> Self:
        good, more = check(values)
        every = [*faults, *more]
        if every:
            raise SettingsError(every)
        numbers: dict[str, Any] = {key: good[key].value for key in POOL if key in good}
        made = cls.__new__(cls)
        object.__setattr__(made, "_values", MappingProxyType(good))
        object.__setattr__(made, "_policy", PoolPolicy.of(**numbers))
        return made

    # What was set

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
        """The password; None leaves it to libpq (``PGPASSWORD``, ``.pgpass``)."""
        value = self._get("password")
        return value if isinstance(value, Secret) else None

    @property
    def options(self) -> Mapping[str, object]:
        """libpq's other connection parameters, dbkit's defaults included, secrets not."""
        hidden = {*IDENTITY, *POOL, *SECRETS}
        return MappingProxyType({key: s.value for key, s in self._values.items() if key not in hidden})

    @property
    def policy(self) -> PoolPolicy:
        """The pool's numbers."""
        return self._policy

    @property
    def target(self) -> str:
        """A short label for messages, without secrets: ``user@host:5432/database``, as far as these are set."""
        hosts = (self.host or str(self._get("hostaddr") or "")).split(",")
        ports = str(self.port or "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        bracketed = [f"[{host}]" if ":" in host and not host.startswith(("/", "@")) else host for host in hosts]
        server = ",".join(f"{host}:{port}" if port else host for host, port in zip(bracketed, ports, strict=True))
        label = (f"{self.username}@" if self.username else "") + server + (f"/{self.database}" if self.database else "")
        service = self._text("service")
        if service:
            label = f"service={service}" + (f" {label}" if label else "")
        return "".join(c if c.isprintable() else "?" for c in label) or "the server libpq is set up for"

    def connect_params(self) -> dict[str, object]:
        """Keyword arguments for ``psycopg2.connect``, in libpq's names, without secrets (see ``secrets()``)."""
        return {
            DRIVER_NAMES.get(key, key): setting.value
            for key, setting in self._values.items()
            if key not in POOL and key not in SECRETS
        }

    def secrets(self) -> dict[str, Secret]:
        """What ``connect_params()`` leaves out, still wrapped: ``password``, ``sslpassword``, ..."""
        return {
            key: setting.value
            for key, setting in self._values.items()
            if key in SECRETS and isinstance(setting.value, Secret)
        }

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
        return DEFAULT if known in POOL else LIBPQ

    def describe(self) -> str:
        """A table to print: every setting in force, its value and its origin; secrets as ``***``."""
        rows = [("setting", "value", "origin")]
        for key in KEYS:
            if key in self._values:
                rows.append((key, self._shown(key), self._values[key].origin))
            elif key in POOL:
                rows.append((key, repr(getattr(self._policy, key)), DEFAULT))
            elif key in IDENTITY:
                rows.append((key, "-", LIBPQ))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={self._shown(key)} ({s.origin})" for key, s in self._values.items())
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, DatabaseSettings) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple((key, setting.value) for key, setting in self._values.items()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("settings do not change; use replace()")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("settings do not change; use replace()")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("settings are not pickled, for their secrets; load them anew where they are needed")

    def _get(self, key: str) -> object:
        setting = self._values.get(key)
        return setting.value if setting else None

    def _text(self, key: str) -> str | None:
        value = self._get(key)
        return value if isinstance(value, str) else None

    def _shown(self, key: str) -> str:
        return repr(self._values[key].value)


def _from_code(source: object) -> Layer:
    if source is None:
        return Layer()
    if isinstance(source, str):
        return sources.from_url(Secret(source), "URL")
    if isinstance(source, Secret):
        return sources.from_url(source, "URL")
    if isinstance(source, Mapping):
        return sources.from_mapping(source, "mapping")
    if isinstance(source, SqlalchemyUrl):
        return sources.from_url_object(source, "URL")
    reason = f"must be a URL or a mapping, not {type(source).__name__}"
    return Layer(faults=[Fault("source", reason)])


def _from_overrides(overrides: Mapping[str, object]) -> Layer:
    return sources.from_mapping(overrides, "argument", keep_none=OPTIONAL)


def _gather(
    given: Layer, variables: Mapping[str, str], env_file: str | os.PathLike[str] | None, weakest: Layer
) -> Layer:
    """Everything but the keyword arguments, merged."""
    described = describes_server(given)
    environment = sources.from_variables(variables, "environment variable {}".format, read_url=not described)
    entries, faults = sources.read_dotenv(env_file)
    shown = f"the file {os.fspath(env_file)}, " if env_file is not None else ""
    file = sources.from_variables(
        entries, lambda name: shown + name, read_url=not described and not environment.from_url
    )
    file.faults += faults
    merged = lay_over(file, weakest, whole=file.from_url)
    merged = lay_over(environment, merged, whole=environment.from_url)
    return lay_over(given, merged, whole=True)
