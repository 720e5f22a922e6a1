"""Which source wins.

Single values - keyword arguments, ``DB_*`` variables, entries of ``.env``, keys of an INI section - go key by key, the
strongest source first. A source that *describes a server* - a URL, or a mapping that names a host - must not be mixed
with another server's parts:

- What a URL leaves out of the address (host, port, database, service) is left to libpq, not filled from elsewhere.
- Where a weaker source names another server, neither its address nor its login is taken.
- Where a weaker source names another user, its password is not taken.
- A weaker ``DATABASE_URL`` is not read at all.

Everything else (pool numbers, ``sslmode``, ...) still goes key by key.
"""

from __future__ import annotations

from collections.abc import Mapping

from dbkit.errors import Fault
from dbkit.settings.keys import ADDRESS, KEYS, LOGIN, PROOF
from dbkit.settings.sources import Layer, SecretFile, Setting, read_secret_file

DEFAULT = "default"
"""The origin of what nobody set and dbkit does."""

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


def describes_server(layer: Layer) -> bool:
    """Whether this source, given in code, is about one server as a whole."""
    return layer.from_url or any(key in layer.values for key in _NAMES_SERVER)


def lay_over(strong: Layer, weak: Layer, *, whole: bool) -> Layer:
    """Put a stronger source over a weaker one.

    Args:
        strong: wins for every key it gives.
        weak: fills in the others.
        whole: whether ``strong`` is a description (a URL, a mapping) rather than single values.
    """
    foreign = _of_another(strong, weak) if whole else frozenset()
    kept = {key: setting for key, setting in weak.values.items() if key not in foreign}
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
    """The merged values, secret files read and defaults filled in, in the order of ``KEYS``; and all faults so far."""
    values, faults = dict(layer.values), layer.faults + layer.doubts
    for slip in layer.slips:
        if slip.key not in values and not (layer.from_url and slip.key in ADDRESS):
            reason = f"looks like a misspelt {slip.meant}, which is not set; rename it, or set {slip.meant} too"
            faults.append(Fault(slip.variable, reason, "", slip.origin))
    for key, setting in list(values.items()):
        if isinstance(setting.value, SecretFile):
            outcome = read_secret_file(setting.value, setting.origin)
            if isinstance(outcome, Fault):
                faults.append(outcome)
                del values[key]
            else:
                values[key] = outcome
    values = defaults(values, environ) | values
    return {key: values[key] for key in KEYS if key in values}, faults


def defaults(values: Mapping[str, Setting], environ: Mapping[str, str]) -> dict[str, Setting]:
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
