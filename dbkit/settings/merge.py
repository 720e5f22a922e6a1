"""Which source wins.

Single values - keyword arguments, ``DB_*`` variables, entries of ``.env``, keys of an INI section - go key by key, the
strongest source first. A source that *describes a server* - a URL, or a mapping that names a host - must not be mixed
with another server's parts:

- The parts of the address (host, port, database, service) that a URL leaves out are left to libpq, not filled from
  elsewhere.
- Where a weaker source names another server, neither its address nor its login is taken.
- Where a weaker source names another user, its login is not taken.
- A weaker ``DATABASE_URL`` is not read at all.

The login goes as a whole: see ``login.py``. Everything else (pool numbers, ``sslmode``, ...) still goes key by key.
Defaults a program gives are under all of this, and each source takes out of them what it would take out of a weaker
source.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dbkit.errors import Fault
from dbkit.settings import sources
from dbkit.settings.files import read_dotenv
from dbkit.settings.keys import (
    ADDRESS,
    CREDENTIAL,
    CREDENTIAL_SCOPE,
    IDENTITY_ENABLED,
    KEYS,
    LIBPQ_VARIABLES,
    MIGRATION_URL,
    NETWORK_TIMEOUT,
    OF_A_SERVER,
    OF_A_USER,
)
from dbkit.settings.login import spell_out, take_login
from dbkit.settings.sources import DEFAULT, Layer, Setting

SERVER_DEFAULTS: Mapping[str, object] = {
    "connect_timeout": 10,
    NETWORK_TIMEOUT: 30,
    "fallback_application_name": "dbkit",
}
"""dbkit's own defaults for a connection: a dead server is noticed within half a minute, even in the middle of a query.
``connect_timeout`` is for one address; of several each gets less at first (``core/connect_timeouts.py``). The name is
libpq's fallback, so that ``PGAPPNAME`` and service files win."""

_NAMES_SERVER = ("host", "hostaddr", "service")
_SERVER = frozenset({*_NAMES_SERVER, "servicefile"})


@dataclass(frozen=True, slots=True)
class Merged:
    """All sources' settings together.

    Attributes:
        values: the settings, unchecked, in the order of ``KEYS``.
        faults: what is wrong with the sources.
        remarks: what to tell the user, though it is no fault.
        surroundings: of libpq's variables, those that decide the route.
    """

    values: Mapping[str, Setting]
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...]
    surroundings: Mapping[str, str]


def read_and_merge(
    *,
    overrides: Layer,
    given: Layer,
    ini: Layer,
    defaults: Layer,
    environ: Mapping[str, str] | None,
    env_file: str | os.PathLike[str] | None,
    url_variable: str | None,
) -> Merged:
    """Read the environment and ``env_file``, and merge all that is said.

    Args:
        overrides: the keyword arguments.
        given: the URL or mapping; empty if there is none.
        ini: the INI section; empty if there is none.
        defaults: for what no source gives.
        environ: the environment; None for the process's own.
        env_file: the file of variables, or None.
        url_variable: the variable that holds a URL, or None.
    """
    variables = os.environ if environ is None else environ
    if describes_server(given):
        url_variable = None
    environment = sources.from_environment(variables, url_variable=url_variable)
    dotenv = sources.from_dotenv(
        read_dotenv(env_file, variables), env_file, url_variable=None if environment.from_url else url_variable
    )
    merged = merge((overrides, given, environment, dotenv, ini), defaults)
    surroundings = {name: variables[name] for name in LIBPQ_VARIABLES if variables.get(name)}
    return _finished(
        merged,
        server_defaults(merged.values, variables),
        surroundings=MappingProxyType(surroundings),
        server_in_code=describes_server(given),
    )


def replaced(overrides: Layer, values: Mapping[str, Setting], surroundings: Mapping[str, str]) -> Merged:
    """Settings that were merged before, with some values replaced; no source is read again.

    Args:
        overrides: the values to replace.
        values: the settings of before.
        surroundings: libpq's variables as they were seen then.
    """
    if "service" in overrides.values:
        values = {key: setting for key, setting in values.items() if not _left_to_service(key, setting)}
    return _finished(merge((overrides, Layer(dict(values))), Layer()), {}, surroundings=surroundings)


def merge(layers: Sequence[Layer], defaults: Layer) -> Layer:
    """All sources in one, the strongest first; ``defaults`` for what none of them gives."""
    for layer in (*layers, defaults):
        take_login(layer)
    merged = Layer()
    for layer in reversed(layers):
        merged = _lay_over(layer, merged, _of_another(layer, merged))
    without = {key for layer in layers for key in _of_another(layer, defaults)}
    return _lay_over(merged, defaults, without | _elsewhere(merged))


def describes_server(layer: Layer) -> bool:
    """Whether this source, given in code, is about one server as a whole."""
    return layer.from_url or any(key in layer.values for key in _NAMES_SERVER)


def _lay_over(strong: Layer, weak: Layer, without: Iterable[str]) -> Layer:
    """``strong`` wins for every key it gives, and with its login; ``weak`` fills in the others, but for some."""
    kept = {key: setting for key, setting in weak.values.items() if key not in without}
    still_open = [doubt for doubt in weak.doubts if doubt.key in kept and doubt.key not in strong.values]
    login = None if "password" in without else weak.login
    return Layer(
        values=kept | strong.values,
        login=strong.login.over(login) if strong.login else login,
        faults=strong.faults + weak.faults,
        doubts=strong.doubts + still_open,
        misses=strong.misses + weak.misses,
        remarks=strong.remarks + weak.remarks,
        from_url=strong.from_url or weak.from_url,
    )


def _of_another(strong: Layer, weak: Layer) -> frozenset[str]:
    """The keys of ``weak`` that speak of another server or another user than ``strong``, a description, does."""
    if not strong.whole:
        return frozenset()
    if describes_server(strong) and any(key in weak.values for key in _NAMES_SERVER):
        shared = [key for key in _NAMES_SERVER if key in strong.values and key in weak.values]
        if not shared or any(strong.values[key] != weak.values[key] for key in shared):
            return ADDRESS | OF_A_SERVER
    foreign = ADDRESS if strong.from_url else frozenset()
    if describes_server(strong) and not any(key in weak.values for key in _NAMES_SERVER):
        foreign |= {MIGRATION_URL}  # nobody says that it is about this server, and it would be changed
    users = (strong.values.get("username"), weak.values.get("username"))
    if None not in users and users[0] != users[1]:
        foreign |= OF_A_USER
    return foreign


def _elsewhere(merged: Layer) -> frozenset[str]:
    """The keys that defaults cannot add to a named server: a second name for it, all that a service file may say."""
    if "service" in merged.values:
        return ADDRESS | OF_A_SERVER
    return _SERVER if any(key in merged.values for key in _NAMES_SERVER) else frozenset()


def _finished(
    layer: Layer, defaults: Mapping[str, Setting], *, surroundings: Mapping[str, str], server_in_code: bool = False
) -> Merged:
    """The merged values with the login spelled out, over ``defaults``; and all that is wrong with the sources."""
    login, faults = spell_out(layer.login, layer.values.pop(CREDENTIAL_SCOPE, None))
    values = layer.values | login
    answered = _answered(layer, values, login_is_good=not faults)
    faults = [*layer.faults, *(doubt for doubt in layer.doubts if doubt.key in values), *faults]
    remarks = list(layer.remarks)
    for miss in layer.misses:
        if miss.key in answered:
            continue
        if miss.is_surely_meant(server_in_code=server_in_code):
            reason = f"is not read, and {miss.meant}, which seems to be meant, is not set; rename it, or set that too"
            faults.append(Fault(miss.variable, reason, "", miss.origin))
        else:
            remarks.append(f"{miss.origin} is not read; did you mean {miss.meant}?")
    values = {**defaults, **values}
    return Merged({key: values[key] for key in KEYS if key in values}, tuple(faults), tuple(remarks), surroundings)


def _answered(layer: Layer, values: Mapping[str, Setting], *, login_is_good: bool) -> set[str]:
    """The settings that some source gives, so that a variable which looks like a misspelling of one is harmless."""
    answered = {key for key, setting in values.items() if setting.origin != DEFAULT}
    if CREDENTIAL in answered and login_is_good:
        answered |= {"password", IDENTITY_ENABLED}
    if layer.from_url:
        answered |= ADDRESS
    if any(key in answered for key in _NAMES_SERVER):
        answered.add("host")
    return answered


def _left_to_service(key: str, setting: Setting) -> bool:
    """Whether a service file, which loses to what libpq is given, should have its say instead of this default."""
    ours = key in SERVER_DEFAULTS and key != "fallback_application_name"
    return setting.origin == DEFAULT and (ours or key in ADDRESS or key in OF_A_SERVER)


def server_defaults(values: Mapping[str, Setting], environ: Mapping[str, str]) -> dict[str, Setting]:
    """dbkit's defaults for a server, but for those that libpq's own sources would then lose to.

    libpq takes a parameter over its environment and its service file. So ``PGCONNECT_TIMEOUT`` takes dbkit's own
    away; and with a service in use, which may set anything, only the fallback name is given.
    """
    service = "service" in values or bool(environ.get("PGSERVICE"))
    chosen = {
        key: value
        for key, value in SERVER_DEFAULTS.items()
        if key == "fallback_application_name"
        or not (service or (key == "connect_timeout" and environ.get("PGCONNECT_TIMEOUT")))
    }
    return {key: Setting(value, DEFAULT) for key, value in chosen.items()}
