"""Where settings come from: each source read into a ``Layer``, every value with its origin.

Secrets are wrapped the moment they are seen, and no function here raises for bad input: what is wrong is collected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dbkit.core.policy import OPTIONAL
from dbkit.errors import Fault
from dbkit.settings import url
from dbkit.settings.files import Dotenv, Unresolved, read_text
from dbkit.settings.hints import NearMiss, near_miss, unknown
from dbkit.settings.keys import ALIASES, CHOICES, CREDENTIAL, DRIVER, PASSWORD_FILE, SECRETS, VARIABLES, canonical
from dbkit.settings.secret import Secret

if TYPE_CHECKING:
    from dbkit.settings.login import Login

DEFAULT = "default"
"""The origin of dbkit's own defaults and of the program's."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from. Equal to another where the values are."""

    value: object
    origin: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A password still in its file: read when it is needed, and only if nothing stronger gives one."""

    path: Secret  # users put the password itself there

    @property
    def shown(self) -> str:
        """The path, where it looks like one; else empty."""
        path = self.path.reveal()
        return path if path.startswith(("/", "./", "../")) else ""


NOT_TEXT = object()
"""Stands for a secret that was given as something else than text, since that must not be seen either."""


@dataclass
class Layer:
    """The settings of one source, or of several once they are merged.

    Attributes:
        values: settings by key.
        login: the source's settings of a login as one; they are then no longer among the values.
        faults: what is wrong with the source, told whichever source wins.
        doubts: contradictions within the source, which matter only where its value for that key is used.
        misses: variables that dbkit does not read, though their names suggest it.
        remarks: notes for the user that are no faults.
        whole: it describes a server (a URL, a mapping) and is not a collection of single values.
        from_url: a URL described the server.
    """

    values: dict[str, Setting] = field(default_factory=dict)
    login: Login | None = None
    faults: list[Fault] = field(default_factory=list)
    doubts: list[Fault] = field(default_factory=list)
    misses: list[NearMiss] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    whole: bool = False
    from_url: bool = False

    def add(self, key: str, setting: Setting) -> None:
        """Take a value; a second, different one for the same key is a doubt."""
        first = self.values.setdefault(key, setting)
        if _comparable(first) != _comparable(setting):
            self.doubts.append(says_otherwise(key, first, setting))

    def add_as_written(self, name: str, value: object, origin: str) -> None:
        """Take a value under the name it was given by; an unknown name is a fault, its value never shown."""
        key = canonical(name)
        if key is None:
            self.faults.append(Fault(name, unknown(name), "", origin))
        elif isinstance(value, Unresolved):
            self.add(key, Setting(value, origin))
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


def says_otherwise(key: str, first: Setting, second: Setting) -> Fault:
    """Two settings of one source that contradict each other; names both."""
    hidden = key in SECRETS or isinstance(second.value, Secret | SecretFile)
    reason = f"{first.origin} says otherwise; keep one of the two"
    return Fault(key, reason, "" if hidden else repr(second.value), second.origin)


def _kind(value: object) -> object:
    """A kind of credential as it is; anything else may be a credential itself, and is not to be seen."""
    text = value.reveal() if isinstance(value, Secret) else value
    return text if isinstance(text, str) and text in CHOICES[CREDENTIAL] else concealed(value)


def _comparable(setting: Setting) -> object:
    """Comparable across types: a number is the same as text and as a number."""
    return setting.value if isinstance(setting.value, Secret | SecretFile) else str(setting.value)


def concealed(value: object) -> object:
    """A secret's text wrapped; pydantic's ``SecretStr`` is unwrapped first, and anything but text is dropped."""
    reveal = getattr(value, "get_secret_value", None)
    if callable(reveal):
        value = reveal()
    if isinstance(value, str):
        return Secret(value)
    return value if isinstance(value, Secret) else NOT_TEXT


# Given in code


def from_code(source: object) -> Layer:
    """The first argument of ``load()``: a URL or a mapping."""
    if source is None:
        return Layer()
    if isinstance(source, str):
        return from_url(Secret(source), "URL")
    if isinstance(source, Secret):
        return from_url(source, "URL")
    if isinstance(source, url.SqlalchemyUrl):
        return _from_parts(url.take_apart(source), "URL")
    if isinstance(source, Mapping):
        layer = from_mapping(source, "mapping")
        layer.whole = True
        return layer
    return Layer(faults=[Fault("source", f"must be a URL or a mapping, not {type(source).__name__}")])


def from_overrides(overrides: Mapping[str, object]) -> Layer:
    """The keyword arguments of ``load()``."""
    return from_mapping(overrides, "argument", keep_none=OPTIONAL)


def from_defaults(defaults: Mapping[str, object] | None) -> Layer:
    """The ``defaults`` of ``load()``; of one origin, whichever spelling they have."""
    layer = from_mapping(defaults or {}, DEFAULT, keep_none=OPTIONAL)
    layer.values = {key: Setting(setting.value, DEFAULT) for key, setting in layer.values.items()}
    return layer


def from_url(text: Secret, origin: str) -> Layer:
    """A URL given as text."""
    return _from_parts(url.parse(text), origin)


def _from_parts(parts: url.Parts, origin: str) -> Layer:
    layer = Layer(whole=True, from_url=True)
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


# Variables


def from_environment(environ: Mapping[str, str], *, url_variable: str | None) -> Layer:
    """The environment's variables."""
    return _from_variables(environ, "environment variable {}".format, url_variable=url_variable)


def from_dotenv(file: Dotenv, path: str | os.PathLike[str] | None, *, url_variable: str | None) -> Layer:
    """The variables of a ``.env`` file."""
    shown = "" if path is None else f"the file {os.fspath(path)}"
    layer = _from_variables(file.variables, lambda name: f"{shown}, {name}", url_variable=url_variable)
    layer.faults += file.faults
    for line, name in file.unreadable:
        if name in VARIABLES or (name and name == url_variable):
            reason = "cannot be read; are its quotes closed?"
            layer.faults.append(Fault(name, reason, "", f"{shown}, line {line}"))
        else:
            layer.remarks.append(f"{shown}, line {line} cannot be read, and is ignored")
    return layer


def _from_variables(
    variables: Mapping[str, str | Unresolved], origin: Callable[[str], str], *, url_variable: str | None
) -> Layer:
    """``DB_*``, and a URL. Empty variables count as unset; those of other programs are ignored.

    Args:
        variables: names and values, of the environment or of a file like it.
        origin: how to say where a variable stands.
        url_variable: the one that holds a URL; None to read none, as where a stronger source describes the server.
    """
    layer = Layer()
    for name in VARIABLES:
        value = variables.get(name)
        if value and not _of_another_program(name, value):
            layer.add_as_written(VARIABLES[name], value, origin(name))
    for name in variables:
        miss = near_miss(name, origin(name), url_variable=url_variable)
        if miss is not None and variables[name]:
            layer.misses.append(miss)
    found = variables.get(url_variable) if url_variable is not None else None
    if url_variable is None or not found:
        return layer
    if isinstance(found, Unresolved):
        layer.faults.append(Fault("url", found.reason, "", origin(url_variable)))
        return layer
    return _side_by_side(from_url(Secret(found), origin(url_variable)), layer, url_variable)


def _of_another_program(name: str, value: object) -> bool:
    """Whether this value shows that a variable is not for dbkit.

    Kubernetes gives every pod ``DB_PORT=tcp://10.0.0.1:5432`` where a service is called ``db``; and ``DB_DRIVER`` is
    another framework's, unless it names a driver that dbkit has.
    """
    if name == "DB_PORT":
        return re.fullmatch(r"(tcp|udp|sctp)://[^/]*:\d+", str(value)) is not None
    return name == "DB_DRIVER" and value not in CHOICES[DRIVER]


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
    whole.misses += single.misses
    return whole


# Files


def from_ini(path: str | os.PathLike[str], section: str) -> Layer:
    """One section of an INI file, without interpolation: a ``%`` in a password is a ``%``."""
    layer = Layer()
    shown = os.fspath(path)
    text, reason = read_text(path)
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
    text, reason = read_text(path)
    if text is None:
        return Fault(PASSWORD_FILE, f"cannot be read: {reason}", file.shown, origin)
    ending = "\r\n" if text.reveal().endswith("\r\n") else "\n"
    password = Secret(text.reveal().removesuffix(ending))
    if password == Secret(""):
        return Fault(PASSWORD_FILE, "is empty", path, origin)
    return Setting(password, origin)
