"""Guesses what was meant by a name that dbkit does not know: a key in code, a keyword, an environment variable."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from dbkit.settings.keys import IDENTITY, PASSWORD_FILE, SPELLINGS, VARIABLES, canonical

_URL = "url"

_ELSEWHERE = MappingProxyType(
    {
        "url": _URL, "uri": _URL, "dsn": _URL, "connection_string": _URL, "database_url": _URL, "database_uri": _URL,
        "pass": "password", "passwd": "password", "pwd": "password", "hostname": "host",
        "pool_size": "max_size", "max_overflow": "max_size", "max_connections": "max_size", "pool_max": "max_size",
        "pool_max_size": "max_size", "max_pool_size": "max_size", "maxconn": "max_size",
        "min_connections": "min_size", "pool_min": "min_size", "pool_min_size": "min_size",
        "min_pool_size": "min_size", "minconn": "min_size",
        "pool_timeout": "timeout", "pool_recycle": "max_lifetime", "conn_max_age": "max_lifetime",
        "managed_identity": "identity_enabled",
    }
)  # fmt: skip
"""Other libraries' names, and dbkit's."""


class Likeness(Enum):
    """Why a variable is taken for a setting's."""

    SLIP = "one letter is missing, doubled or wrong, two are swapped, or there is a DB_ too many"
    ALIAS = "other libraries call the setting so"
    RESEMBLANCE = "it goes on where dbkit's name ends (DB_HOSTS), or lacks its underscore (DBHOST)"


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A variable that dbkit does not read, though its name suggests it.

    Attributes:
        variable: its name.
        meant: the variable that was probably meant.
        key: the setting that ``meant`` gives. The near miss is harmless where something gives that.
        likeness: why.
        origin: where it stands.
    """

    variable: str
    meant: str
    key: str
    likeness: Likeness
    origin: str

    def is_surely_meant(self, *, server_in_code: bool) -> bool:
        """Whether to refuse to go on without the setting, rather than to remark on it.

        Args:
            server_in_code: the program itself describes the server, so the variable may well be another program's.
        """
        if self.likeness is Likeness.ALIAS:
            return self.key in IDENTITY and not server_in_code
        return self.likeness is Likeness.SLIP


def unknown(name: str) -> str:
    """The message about a key that does not exist, with a suggestion where there is one."""
    meant = _ELSEWHERE.get(name.lower()) or closest(name, SPELLINGS)
    if meant == _URL:
        hint = "give the URL as the first argument"
    else:
        hint = f"did you mean {meant}?" if meant else "see dbkit.settings for the keys there are"
    return f"there is no such setting; {hint}"


def meant_keyword(name: str, known: Collection[str]) -> str | None:
    """A hint about a keyword that a function with these keywords does not take; None where nothing is like it."""
    if canonical(name) in IDENTITY:
        return f"give {name} in connection_details"
    meant = _ELSEWHERE.get(name.lower())
    meant = meant if meant in known else closest(name, known)
    return f"did you mean '{meant}'?" if meant else None


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one is most like, if any is like it."""
    import difflib  # only for a mistake

    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.7)
    return close[0] if close else None


def near_miss(variable: str, origin: str, *, url_variable: str | None) -> NearMiss | None:
    """The setting that this variable is like; None where dbkit reads it, or where it is like nothing that dbkit reads.

    A longer name that begins like one of dbkit's, by more than a letter (``DB_PORT_5432_TCP``), is another program's.

    Args:
        variable: its name.
        origin: where it stands.
        url_variable: the variable that is read for a URL; None if none is.
    """
    if variable in VARIABLES or variable == url_variable:
        return None
    if url_variable is not None and _one_slip(variable, url_variable):
        return NearMiss(variable, url_variable, "host", _likeness(variable, url_variable), origin)
    if not variable.startswith("DB"):
        return None
    bare = variable.removeprefix("DB_")
    slipped = [ours for ours in VARIABLES if ours == bare != variable or _one_slip(variable, ours)]
    if slipped:
        return NearMiss(variable, slipped[0], _key(slipped[0]), _likeness(variable, slipped[0]), origin)
    alias = _ELSEWHERE.get(bare.lower())
    if alias == _URL:
        return None if url_variable is None else NearMiss(variable, url_variable, "host", Likeness.ALIAS, origin)
    if alias is None or bare == variable:
        return None
    meant = next(name for name, key in VARIABLES.items() if key == alias)
    return NearMiss(variable, meant, _key(meant), Likeness.ALIAS, origin)


def _likeness(variable: str, ours: str) -> Likeness:
    longer = variable.startswith(ours) or (ours.startswith("DB_") and not variable.startswith("DB_"))
    return Likeness.RESEMBLANCE if longer else Likeness.SLIP


def _key(variable: str) -> str:
    key = canonical(VARIABLES[variable])
    return "password" if key is None or key == PASSWORD_FILE else key


def _one_slip(a: str, b: str) -> bool:
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[start:] == b[start + 1 :]
    if a[start + 1 :] == b[start + 1 :]:
        return True
    return a[start : start + 2] == b[start : start + 2][::-1] and a[start + 2 :] == b[start + 2 :]
