"""Which source wins.

Single values - keyword arguments, ``DB_*`` variables, entries of ``.env``, keys of an INI section - go key by key, the
strongest source first. A source that *describes a server* - a URL, or a mapping that names a host - must not be mixed
with another server's parts:

- What a URL leaves out of the address (host, port, database, service) is left to libpq, not filled from elsewhere.
- Where a weaker source names another server, neither its address nor its login is taken.
- Where a weaker source names another user, its password is not taken.
- A weaker ``DATABASE_URL`` is not read at all.

How one proves who one is (``credential``, a password, ...) is one thing, too: see ``proof.py``. Everything else (pool
numbers, ``sslmode``, ...) still goes key by key. Defaults a program gives are under all of this, and each source takes
out of them what it would take out of a weaker source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dbkit.errors import Fault
from dbkit.settings.keys import ADDRESS, KEYS, LOGIN, PASSWORD_FILE, PROOF
from dbkit.settings.login import in_force, overruled, settle
from dbkit.settings.sources import Layer, Setting

DEFAULT = "default"
"""The origin of what nobody set and dbkit, or the program's defaults, do."""

SERVER_DEFAULTS: Mapping[str, object] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "fallback_application_name": "dbkit",
}
"""What dbkit asks of libpq when nobody says otherwise: a dead server is noticed within a minute, even in the
middle of a query. The name is libpq's fallback, so that ``PGAPPNAME`` and service files win."""

_NAMES_SERVER = ("host", "hostaddr", "service")
_SERVER = frozenset({*_NAMES_SERVER, "servicefile"})


def describes_server(layer: Layer) -> bool:
    """Whether this source, given in code, is about one server as a whole."""
    return layer.from_url or any(key in layer.values for key in _NAMES_SERVER)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A layer, and how it goes over weaker ones.

    Attributes:
        layer: what it says.
        whole: it is a description (a URL, a mapping) rather than single values.
        in_code: the program itself says it.
    """

    layer: Layer
    whole: bool = False
    in_code: bool = False


def merge(sources: Sequence[Ranked], defaults: Layer) -> Layer:
    """All sources in one, the strongest first; ``defaults`` for what none of them gives."""
    merged = Layer()
    for source in reversed(sources):
        merged = _lay_over(source.layer, merged, _unfit(source, merged))
    without = {key for source in sources for key in _unfit(source, defaults)}
    without |= overruled(merged.values, defaults.values, whole=True) | _elsewhere(merged)
    return _lay_over(merged, defaults, without)


def _unfit(strong: Ranked, weak: Layer) -> frozenset[str]:
    """The keys of ``weak`` that ``strong`` leaves no room for, though it may not give them."""
    foreign = _of_another(strong.layer, weak) if strong.whole else frozenset()
    return foreign | overruled(strong.layer.values, weak.values, whole=strong.whole or strong.in_code)


def _elsewhere(merged: Layer) -> frozenset[str]:
    """What defaults cannot add to a server that is named: no second name for it, and nothing a service file may say."""
    if "service" in merged.values:
        return ADDRESS | LOGIN
    return _SERVER if any(key in merged.values for key in _NAMES_SERVER) else frozenset()


def _lay_over(strong: Layer, weak: Layer, without: Iterable[str]) -> Layer:
    """``strong`` wins for every key it gives; ``weak`` fills in the others, but for some."""
    kept = {key: setting for key, setting in weak.values.items() if key not in without}
    still_open = [doubt for doubt in weak.doubts if doubt.key in kept and doubt.key not in strong.values]
    return Layer(
        values=kept | strong.values,
        faults=strong.faults + weak.faults,
        doubts=strong.doubts + still_open,
        slips=strong.slips + weak.slips,
        from_url=strong.from_url or weak.from_url,
    )


def _of_another(strong: Layer, weak: Layer) -> frozenset[str]:
    """The keys of ``weak`` that speak of another server or another user than ``strong`` does."""
    if describes_server(strong) and any(key in weak.values for key in _NAMES_SERVER):
        shared = [key for key in _NAMES_SERVER if key in strong.values and key in weak.values]
        if not shared or any(strong.values[key] != weak.values[key] for key in shared):
            return ADDRESS | LOGIN
    foreign = ADDRESS if strong.from_url else frozenset()
    users = (strong.values.get("username"), weak.values.get("username"))
    if None not in users and users[0] != users[1]:
        foreign |= PROOF
    return foreign


def finish(layer: Layer, environ: Mapping[str, str]) -> tuple[dict[str, Setting], list[Fault]]:
    """The merged values, the password's file read and defaults filled in, in the order of ``KEYS``; and all faults."""
    values, faults = settle(layer.values)
    faults = layer.faults + [doubt for doubt in layer.doubts if doubt.key in values] + faults
    answered = {key for key, setting in values.items() if setting.origin != DEFAULT}
    if in_force(values) is not None and (in_force(values) != "file" or PASSWORD_FILE in values):
        answered.add("password")
    if layer.from_url:
        answered |= ADDRESS
    for slip in layer.slips:
        if slip.key not in answered:
            reason = f"looks like a misspelt {slip.meant}, which is not set; rename it, or set {slip.meant} too"
            faults.append(Fault(slip.variable, reason, "", slip.origin))
    values = server_defaults(values, environ) | values
    return {key: values[key] for key in KEYS if key in values}, faults


def left_to_service(key: str, setting: Setting) -> bool:
    """Whether a service file, which loses to what libpq is given, should have its say instead of this default."""
    ours = key in SERVER_DEFAULTS and key != "fallback_application_name"
    return setting.origin == DEFAULT and (ours or key in ADDRESS or key in LOGIN)


def server_defaults(values: Mapping[str, Setting], environ: Mapping[str, str]) -> dict[str, Setting]:
    """dbkit's defaults for a server, but for those that libpq's own sources would then lose to.

    libpq takes a parameter over its environment and its service file. So ``PGCONNECT_TIMEOUT`` takes
    our own away; and with a service in use, which may set anything, only the fallback name is.
    """
    service = "service" in values or bool(environ.get("PGSERVICE"))
    chosen = {
        key: value
        for key, value in SERVER_DEFAULTS.items()
        if key == "fallback_application_name"
        or not (service or (key == "connect_timeout" and environ.get("PGCONNECT_TIMEOUT")))
    }
    return {key: Setting(value, DEFAULT) for key, value in chosen.items()}
