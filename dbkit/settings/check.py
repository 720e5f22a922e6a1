"""Checks values: text becomes its proper type, everything wrong is collected, nothing is repaired.

Checking twice changes nothing: a checked value checks as itself.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dbkit.core import policy
from dbkit.core.policy import NAMES as POOL
from dbkit.core.policy import NEITHER_TRUE_NOR_FALSE, read_number, read_whole, truth
from dbkit.errors import Fault, may_be_shown
from dbkit.settings.files import Unresolved
from dbkit.settings.keys import (
    CHOICES,
    CONCEALED,
    CREDENTIAL,
    FLAGS,
    MIGRATION_URL,
    NUMBERS,
    PASSWORD_FILE,
    SECRETS,
    SWITCHES,
)
from dbkit.settings.secret import Secret
from dbkit.settings.sources import SecretFile, Setting
from dbkit.settings.url import parse

_LONGEST_SHOWN = 80


class _Wrong(Exception):  # noqa: N818 - a message on its way to a Fault, raised and caught in this file only
    """Why a value will not do."""


def check(values: Mapping[str, Setting]) -> tuple[dict[str, Setting], list[Fault]]:
    """Every value in its proper type, and everything that is wrong with the others."""
    good: dict[str, Setting] = {}
    faults: list[Fault] = []
    pool: dict[str, object] = {}
    for key, setting in values.items():
        if isinstance(setting.value, Unresolved):
            faults.append(Fault(key, setting.value.reason, "", setting.origin))
            continue
        if key in POOL:
            pool[key] = read_number(key, setting.value)
            good[key] = Setting(pool[key], setting.origin)
            continue
        try:
            good[key] = Setting(_checked(key, setting.value), setting.origin)
        except _Wrong as wrong:
            faults.append(Fault(key, str(wrong), _shown(key, setting.value), setting.origin))
    if not any(fault.key in ("host", "hostaddr", "port") for fault in faults):
        faults += _mismatches(good)
    faults += _pool_faults(pool, values)
    return good, faults


def _checked(key: str, value: object) -> object:
    if key == MIGRATION_URL:
        return _url(value)
    if key in SECRETS:
        return _secret(value)
    if key == CREDENTIAL:
        return _kind(value)
    if key == PASSWORD_FILE:
        return _path(value)
    if key in SWITCHES:
        return _switch(value)
    if key == "port":
        return _ports(value)
    if key in ("host", "hostaddr"):
        return _hosts(key, value)
    if key in FLAGS:
        return _flag(value)
    if key in NUMBERS:
        return _number(value, NUMBERS[key])
    text = _text(value)
    if key in ("database", "username", "service") and ("://" in text or not may_be_shown(text)):
        raise _Wrong("looks like a URL; give a URL as the first argument, or in DATABASE_URL")
    if key in CHOICES and text not in CHOICES[key]:
        raise _Wrong(f"must be one of {', '.join(CHOICES[key])}")
    return text


def _text(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise _Wrong("must be text")
    if not value:
        raise _Wrong("is empty; leave it out for libpq's default")
    _sound(Secret(value))
    return value


def _sound(text: Secret) -> None:
    flaw = text.flaw()
    if flaw is not None:
        raise _Wrong(flaw)


def _secret(value: object) -> Secret:
    if not isinstance(value, Secret):
        raise _Wrong("must be text")
    if value == Secret(""):
        raise _Wrong("is empty; leave it out if there is none")
    _sound(value)
    return value


def _url(value: object) -> Secret:
    """A URL that says of itself which database it is about: libpq's guesses would be another one."""
    text = _secret(value)
    parts = parse(text)
    for key, reason, _ in parts.problems:
        raise _Wrong(reason if key == "url" else f"its {key} {reason}")
    given = {key for key, _ in parts.pairs}
    missing = [key for key in ("host", "database") if key not in given]
    if missing:
        raise _Wrong(f"names no {' and no '.join(missing)}; write postgresql://user:password@host:port/database")
    return text


def _kind(value: object) -> str:
    if isinstance(value, str) and value in CHOICES[CREDENTIAL]:
        return value
    reason = f"must be one of {', '.join(CHOICES[CREDENTIAL])}"
    if not isinstance(value, str | Secret):
        reason += "; an object or a function goes to DatabaseConnectionManager(..., credential=...)"
    raise _Wrong(reason)


def _path(value: object) -> str:
    """A file's path that means the same wherever the process changes its directory to.

    A bare name is refused: read again at each connection attempt, it would have to be shown in errors to be of use,
    and it may be the password itself.
    """
    path = value.path.reveal() if isinstance(value, SecretFile) else _text(value)
    _sound(Secret(path))
    if not (Path(path).is_absolute() or path.startswith(("./", "../"))):
        raise _Wrong("must begin with / or ./ where credential=file reads it at each connection attempt")
    try:
        return os.path.abspath(path)  # noqa: PTH100 - Path.absolute() keeps the "..", resolve() follows links
    except OSError:
        raise _Wrong("must be absolute: the current directory is gone") from None


def _switch(value: object) -> bool:
    on = truth(value)
    if on is None:
        raise _Wrong(NEITHER_TRUE_NOR_FALSE)
    return on


def _hosts(key: str, value: object) -> str:
    text = ",".join(_text(host) for host in value) if isinstance(value, list | tuple) else _text(value)
    for host in text.split(","):
        if not host.strip():
            raise _Wrong("has a hole: each host between commas needs a name" if "," in text else "is blank")
        if "://" in host:
            raise _Wrong("must be a host's name or address; give a URL as the first argument, or in DATABASE_URL")
        if host.startswith("["):
            raise _Wrong("needs no brackets; they belong in URLs only")
        if key == "host" and host.startswith(("/", "@")):
            continue
        if re.search(r"[\s/@?#\x00-\x1f\x7f]", host):
            raise _Wrong("must be a host's name, an address, or the absolute path of a socket's folder")
        if host.count(":") == 1:
            raise _Wrong("holds a port; give it as port")
    return text


def _ports(value: object) -> int | str:
    given: Sequence[object] = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    )
    ports = [read_whole(port) for port in given]
    if not ports or any(port is None or not 1 <= port <= 65535 for port in ports):
        raise _Wrong("must be a number from 1 to 65535" + (", and so each between commas" if len(ports) > 1 else ""))
    return ",".join(map(str, ports)) if len(ports) > 1 else ports[0] or 0


def _flag(value: object) -> int:
    number = int(value) if isinstance(value, bool) else read_whole(value)
    if number not in (0, 1):
        raise _Wrong("must be 1 or 0")
    return number


def _number(value: object, unit: str) -> int:
    number = read_whole(value)
    if number is None or not 0 <= number <= 2**31 - 1:
        raise _Wrong(f"must be a whole number of {unit}, 0 or more")
    return number


def _pool_faults(pool: Mapping[str, object], values: Mapping[str, Setting]) -> list[Fault]:
    origins = {key: values[key].origin for key in pool}
    if "min_size" in origins and "max_size" in origins and origins["min_size"] != origins["max_size"]:
        both = f"{origins['min_size']}; max_size: {origins['max_size']}"
    else:
        both = ""
    faults = []
    for fault in policy.find_faults(pool, origins):
        about_both = both and fault.key == "min_size" and "max_size" in fault.reason
        faults.append(
            dataclasses.replace(
                fault, value=_shown(fault.key, values[fault.key].value), origin=both if about_both else fault.origin
            )
        )
    return faults


def _mismatches(good: Mapping[str, Setting]) -> list[Fault]:
    """Lists that go together and are not of one length."""
    counts = {key: str(good[key].value).count(",") + 1 for key in ("host", "hostaddr", "port") if key in good}
    hosts = counts.get("hostaddr", counts.get("host", 1))
    if counts.get("port", 1) not in (1, hosts):
        key, reason = (
            "port",
            f"{counts['port']} ports for {hosts} host{'s' if hosts > 1 else ''}; give one for all, or one for each",
        )
    elif counts.get("host", hosts) != hosts:
        key, reason = "hostaddr", f"{hosts} addresses for {counts['host']} hosts; give one for each"
    else:
        return []
    other = good.get("hostaddr" if key == "port" and "hostaddr" in good else "host")
    where = f" (host: {other.origin})" if other and other.origin != good[key].origin else ""
    return [Fault(key, reason + where, _shown(key, good[key].value), good[key].origin)]


def _shown(key: str, value: object) -> str:
    if key == "port" and "@" in str(value):  # of host=user:password@host, taken apart at its colon
        return ""
    return "" if key in CONCEALED or isinstance(value, Secret) else _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
