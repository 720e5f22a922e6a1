"""How one proves who one is: one thing, said by several settings.

- ``credential`` names what gives the proof: ``azure``, ``aws``, ``gcp`` (a token), ``file`` (``password_file``, read at
  each connect) or ``password`` (as if nothing were said). ``identity_enabled`` is an older word for ``azure``.
- Where a credential is in force there is no password: a password beside it, or in a source of single values over it,
  is for when it is off.
- What a program says counts whole: a URL, a mapping or a keyword argument that gives a password turns a weaker
  source's credential off.
"""

from __future__ import annotations

from collections.abc import Mapping

from dbkit.errors import Fault
from dbkit.settings.keys import CHOICES, CREDENTIAL, CREDENTIAL_SCOPE, IDENTITY_ENABLED, PASSWORD_FILE
from dbkit.settings.secret import Secret
from dbkit.settings.sources import SecretFile, Setting, read_secret_file

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_SCOPED = ("azure", "gcp")

Values = Mapping[str, Setting]


def truth(value: object) -> bool | None:
    """What a text, a number or a bool says of true and false; None where it says neither."""
    return _WORDS.get(str(value).strip().lower()) if isinstance(value, str | int) else None


def in_force(values: Values) -> str | None:
    """The credential these values ask for; None for a password, and for one that does not exist."""
    if CREDENTIAL in values:
        kind = values[CREDENTIAL].value
        return kind if isinstance(kind, str) and kind in CHOICES[CREDENTIAL] and kind != "password" else None
    return "azure" if _identity(values) else None


def _identity(values: Values) -> bool | None:
    return truth(values[IDENTITY_ENABLED].value) if IDENTITY_ENABLED in values else None


def overruled(strong: Values, weak: Values, *, whole: bool) -> frozenset[str]:
    """The keys of a weaker source that do not go with how a stronger one proves who asks.

    Args:
        strong: the stronger source.
        weak: the weaker one.
        whole: whether what ``strong`` says of it counts whole: it was said in code, or in a URL.
    """
    keys: set[str] = set()
    if PASSWORD_FILE in strong:
        keys.add("password")
    if whole and (CREDENTIAL in strong or _identity(strong) or _gives_password(strong, weak) or _off(strong, weak)):
        keys |= {CREDENTIAL, IDENTITY_ENABLED}
    if CREDENTIAL in strong or _identity(strong):
        theirs = in_force(weak)
        if theirs is not None and theirs != in_force(strong):
            keys.add(CREDENTIAL_SCOPE)
    return frozenset(keys)


def _gives_password(strong: Values, weak: Values) -> bool:
    """A text turns any credential off; a file does not turn off the one that reads it."""
    return "password" in strong or (PASSWORD_FILE in strong and in_force(weak) != "file")


def _off(strong: Values, weak: Values) -> bool:
    """Whether ``identity_enabled`` is turned off where that, and nothing else, had turned Azure on."""
    return _identity(strong) is False and _identity(weak) is True and in_force(weak) == "azure"


def settle(given: Values) -> tuple[dict[str, Setting], list[Fault]]:
    """The merged values with the one proof that counts, a password's file read; and what contradicts it."""
    values, faults = dict(given), _contradictions(given)
    kind = in_force(values)
    if kind is None:
        file = values.pop(PASSWORD_FILE, None)
        if file is not None and "password" not in values:
            read = read_secret_file(_as_file(file.value), file.origin)
            if isinstance(read, Fault):
                faults.append(read)
            else:
                values["password"] = read
        return values, faults
    if CREDENTIAL not in values:
        values[CREDENTIAL] = Setting(kind, values[IDENTITY_ENABLED].origin)
    password = values.pop("password", None)
    if kind != "file":
        values.pop(PASSWORD_FILE, None)
    elif PASSWORD_FILE not in values:
        instead = f"; the password ({password.origin}) is none" if password else ""
        reason = f"needs password_file, the file to read at each connect{instead}"
        faults.append(Fault(CREDENTIAL, reason, repr(kind), values[CREDENTIAL].origin))
    return values, faults


def _contradictions(values: Values) -> list[Fault]:
    faults: list[Fault] = []
    kind, on, scope = values.get(CREDENTIAL), _identity(values), values.get(CREDENTIAL_SCOPE)
    if kind is None or kind.value not in CHOICES[CREDENTIAL]:
        return faults
    says = f"but credential is {kind.value} ({kind.origin}); keep one of the two"
    if (on and kind.value != "azure") or (on is False and kind.value == "azure"):
        identity = values[IDENTITY_ENABLED]
        meaning = "means credential=azure" if on else "means no Azure"
        faults.append(Fault(IDENTITY_ENABLED, f"{meaning}, {says}", repr(identity.value), identity.origin))
    if scope is not None and kind.value not in _SCOPED:
        meaning = f"is for {' and '.join(_SCOPED)}"
        faults.append(Fault(CREDENTIAL_SCOPE, f"{meaning}, {says}", repr(scope.value), scope.origin))
    return faults


def _as_file(value: object) -> SecretFile:
    """Merged settings hold the path as text, a source still wrapped."""
    return value if isinstance(value, SecretFile) else SecretFile(Secret(str(value)))
