"""Where settings come from: each source read into a ``Layer``, every value with its origin.

Secrets are wrapped the moment they are seen, and no function here raises for bad input: what is wrong is collected.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbkit.errors import Fault
from dbkit.settings import url
from dbkit.settings.keys import (
    ALIASES,
    CHOICES,
    CREDENTIAL,
    PASSWORD_FILE,
    SECRETS,
    VARIABLES,
    canonical,
    misspelt,
    unknown,
)
from dbkit.settings.secret import Secret


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from. Equal to another where the values are."""

    value: object
    origin: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A password still in its file: read when it is needed, and only if nothing stronger gives one."""

    path: Secret  # somebody will put the password itself there


NOT_TEXT = object()
"""Stands for a secret that was given as something else than text, since that must not be seen either."""


@dataclass(frozen=True, slots=True)
class Slip:
    """A variable that is not ours but looks like a misspelling of one that is."""

    variable: str
    meant: str
    origin: str

    @property
    def key(self) -> str:
        key = canonical(VARIABLES[self.meant])
        return "password" if key is None or key == PASSWORD_FILE else key


@dataclass
class Layer:
    """What one source says.

    Attributes:
        values: settings by key.
        faults: what is wrong with the source, whoever wins.
        doubts: contradictions within the source, which matter only where its value for that key is used.
        slips: variables that look misspelt.
        from_url: whether a URL described the server whole.
    """

    values: dict[str, Setting] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    doubts: list[Fault] = field(default_factory=list)
    slips: list[Slip] = field(default_factory=list)
    from_url: bool = False

    def add(self, key: str, setting: Setting) -> None:
        """Take a value; a second, different one for the same key is a fault."""
        first = self.values.setdefault(key, setting)
        if _comparable(first) != _comparable(setting):
            shown = "" if key in SECRETS or isinstance(setting.value, Secret | SecretFile) else repr(setting.value)
            self._doubt(key, first, setting, shown)
        elif key in _ONE_PASSWORD and self.values.keys() >= _ONE_PASSWORD:
            self._doubt("password", self.values["password"], self.values[PASSWORD_FILE], "")

    def _doubt(self, key: str, first: Setting, second: Setting, shown: str) -> None:
        reason = f"{first.origin} says otherwise; keep one of the two"
        self.doubts.append(Fault(key, reason, shown, second.origin))

    def add_as_written(self, name: str, value: object, origin: str) -> None:
        """Take a value under the name it was given by; a name that is none is a fault, its value never shown."""
        key = canonical(name)
        if key is None:
            self.faults.append(Fault(name, unknown(name), "", origin))
        elif key == PASSWORD_FILE:
            path = concealed(os.fspath(value) if isinstance(value, os.PathLike) else value)
            if isinstance(path, Secret):
                self.add(key, Setting(SecretFile(path), origin))
            else:
                self.faults.append(Fault(key, "must be the path of a file", "", origin))
        elif key == CREDENTIAL:
            self.add(key, Setting(_kind(value), origin))
        elif not (key in SECRETS and value == ""):  # libpq takes an empty password for none
            self.add(key, Setting(concealed(value) if key in SECRETS else value, origin))


_ONE_PASSWORD = frozenset({"password", PASSWORD_FILE})
"""Two ways to give one password: beside each other in one source they contradict each other."""


def _kind(value: object) -> object:
    """A kind of credential as it is; what is none may be a credential itself, and is not to be seen."""
    text = value.reveal() if isinstance(value, Secret) else value
    return text if isinstance(text, str) and text in CHOICES[CREDENTIAL] else concealed(value)


def _comparable(setting: Setting) -> object:
    """Comparable across types: a number is the same as text and as a number."""
    return setting.value if isinstance(setting.value, Secret | SecretFile) else str(setting.value)


def concealed(value: object) -> object:
    """A secret's text wrapped; pydantic's ``SecretStr`` is unwrapped first, and what is no text dropped."""
    reveal = getattr(value, "get_secret_value", None)
    if callable(reveal):
        value = reveal()
    if isinstance(value, str):
        return Secret(value)
    return value if isinstance(value, Secret) else NOT_TEXT


def from_url(text: Secret, origin: str) -> Layer:
    """A URL given as text."""
    return _from_parts(url.parse(text), origin)


def from_url_object(given: url.SqlalchemyUrl, origin: str) -> Layer:
    """SQLAlchemy's URL object, read part by part."""
    return _from_parts(url.take_apart(given), origin)


def _from_parts(parts: url.Parts, origin: str) -> Layer:
    layer = Layer(from_url=True)
    layer.faults += [Fault(key, reason, shown, origin) for key, reason, shown in parts.problems]
    for name, value in parts.pairs:
        layer.add_as_written(name, value, origin)
    return layer


def from_mapping(given: Mapping[Any, object], origin: str, *, keep_none: Iterable[str] = ()) -> Layer:
    """Keys and values given in code. None means "not set", as ``os.getenv`` says it, but for ``keep_none``."""
    layer = Layer()
    for name, value in given.items():
        if not isinstance(name, str):
            layer.faults.append(Fault(repr(name), "is no name of a setting", "", origin))
        elif value is not None or ALIASES.get(name, name) in keep_none:
            written = origin if name not in ALIASES else f"{origin}, {name}"
            layer.add_as_written(name, value, written)
        elif canonical(name) is None:
            layer.faults.append(Fault(name, unknown(name), "", origin))
    return layer


def from_variables(variables: Mapping[str, str], origin: Callable[[str], str], *, url_variable: str | None) -> Layer:
    """``DB_*``, and a URL. Empty variables count as unset; those of other programs are let be.

    Args:
        variables: names and values, of the environment or of a file like it.
        origin: how to say where a variable stands.
        url_variable: the one that holds a URL; None to read none, as where a stronger source describes the server.
    """
    layer = Layer()
    for name in VARIABLES:
        value = variables.get(name)
        if value and not (name == "DB_PORT" and _set_by_kubernetes(value)):
            layer.add_as_written(VARIABLES[name], value, origin(name))
    for name in variables:
        meant = misspelt(name)
        if meant and variables[name]:
            layer.slips.append(Slip(name, meant, origin(name)))
    if url_variable is not None and variables.get(url_variable):
        layer = _side_by_side(from_url(Secret(variables[url_variable]), origin(url_variable)), layer, url_variable)
    return layer


def _set_by_kubernetes(port: str) -> bool:
    """Kubernetes gives every pod ``DB_PORT=tcp://10.0.0.1:5432`` where a service is called ``db``: nobody's setting."""
    return re.fullmatch(r"(tcp|udp|sctp)://[^/]*:\d+", port) is not None


def _side_by_side(whole: Layer, single: Layer, url_variable: str) -> Layer:
    """A URL and single values of one source: they add up, and a contradiction is a fault, not a guess."""
    named = single.values.get("host")
    same_host = named is not None and named == whole.values.get("host")
    for key, setting in single.values.items():
        if key in ("port", "hostaddr") and key not in whole.values and not same_host:
            reason = (
                f"{url_variable} leaves this out, so it may be another server's; write it into the URL, or unset it"
            )
            whole.values[key] = setting
            whole.doubts.append(Fault(key, reason, repr(setting.value), setting.origin))
        else:
            whole.add(key, setting)
    whole.faults += single.faults
    whole.doubts += single.doubts
    whole.slips += single.slips
    return whole


def read_dotenv(path: str | os.PathLike[str] | None) -> tuple[dict[str, str], list[Fault]]:
    """The variables of a ``.env`` file; the environment is left as it is. Only one called ``.env`` may be missing."""
    if path is None:
        return {}, []
    may_be_missing = os.fspath(path) == ".env"
    if may_be_missing and (not Path(path).exists() or Path(path).is_dir()):
        return {}, []
    text, reason = _read(path)
    if text is None:
        return {}, [Fault("env_file", f"cannot be read: {reason}", os.fspath(path))]
    from dotenv import dotenv_values

    found = dotenv_values(stream=io.StringIO(text.reveal()))
    return {name: value for name, value in found.items() if value}, []


def from_ini(path: str | os.PathLike[str], section: str) -> Layer:
    """One section of an INI file, without interpolation: a ``%`` in a password is a ``%``."""
    layer = Layer()
    shown = os.fspath(path)
    text, reason = _read(path)
    if text is None:
        layer.faults.append(Fault("path", f"cannot be read: {reason}", shown))
        return layer
    import configparser  # few have an INI file

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text.reveal())
    except configparser.Error as error:  # its message may quote a line of the file, so only its kind and place are told
        line = getattr(error, "lineno", None) or next((at for at, _ in getattr(error, "errors", ())), None)
        where = f" (line {line})" if line else ""
        layer.faults.append(Fault("path", f"is not an INI file: {type(error).__name__}{where}", shown))
        return layer
    if not parser.has_section(section):
        there = ", ".join(f"[{name}]" for name in parser.sections()) or "none"
        layer.faults.append(Fault("section", f"{shown} has no such section; it has {there}", repr(section)))
        return layer
    for name, value in parser.items(section):
        if canonical(name) is not None or name not in parser.defaults():
            layer.add_as_written(name, value, f"{shown}, [{section}] {name}")
    return layer


def read_secret_file(file: SecretFile, origin: str) -> Setting | Fault:
    """The password in a file, without one newline at its end; or what is wrong with the file."""
    path = file.path.reveal()
    text, reason = _read(path)
    if text is None:
        # A password put where its file's path belongs must not be shown either.
        shown = path if path.startswith(("/", "./", "../")) else ""
        return Fault(PASSWORD_FILE, f"cannot be read: {reason}", shown, origin)
    ending = "\r\n" if text.reveal().endswith("\r\n") else "\n"
    password = Secret(text.reveal().removesuffix(ending))
    if password == Secret(""):
        return Fault(PASSWORD_FILE, "is empty", path, origin)
    return Setting(password, origin)


def _read(path: str | os.PathLike[str]) -> tuple[Secret | None, str]:
    """A file's text, wrapped since it may hold secrets; or None and the reason."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            return Secret(file.read()), ""
    except UnicodeDecodeError:
        return None, "it is not UTF-8 text"
    except OSError as error:
        return None, error.strerror or type(error).__name__
    except ValueError:
        return None, "its path holds a NUL character"
