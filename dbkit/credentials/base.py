"""A credential, and a token with the time it is good for. Pure: no clock, no I/O.

**The type of what a credential gives says what it is.** A ``str`` or ``Secret`` is a password. A ``Token`` is a
short-lived proof of identity; everybody who sees it can use it, so it needs TLS on its way over a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

from dbkit.errors import DbkitError
from dbkit.settings.secret import Secret

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings

REFRESH_AHEAD = 300.0
"""Seconds before its end, at most, that a token is refreshed in advance: what Azure's SDK does, and for RDS's tokens of
15 minutes the 10 minutes of use that AWS advises."""

SAFETY = 60.0
"""Seconds before its end, at most, that a token is used no more: clocks differ, and a login takes its time."""


@dataclass(frozen=True, slots=True, init=False)
class Token:
    """A proof of identity to log in with, and until when it is good.

    Attributes:
        value: the token's text; never shown.
        expires_at: seconds since the epoch; None for "until the server rejects it".
    """

    value: Secret
    expires_at: float | None

    def __init__(self, value: str | Secret, expires_at: float | datetime | None = None) -> None:
        """
        Args:
            value: the token's text.
            expires_at: seconds since the epoch, as ``time.time()`` and Azure's ``expires_on`` have them, or a datetime
                with a time zone; None for "until the server rejects it".

        Raises:
            TypeError: one of the two is of another type.
            ValueError: the datetime has no time zone, or the number is not finite.
        """
        object.__setattr__(self, "value", value if isinstance(value, Secret) else _secret(value))
        object.__setattr__(self, "expires_at", _seconds(expires_at))


def _secret(value: object) -> Secret:
    if not isinstance(value, str):
        raise TypeError(f"a token's value must be text, not {type(value).__name__}")
    return Secret(value)


def _seconds(moment: object) -> float | None:
    if moment is None:
        return None
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError("expires_at needs a time zone: moment.replace(tzinfo=timezone.utc) if it is UTC")
        return moment.timestamp()
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise TypeError(f"expires_at must be seconds since the epoch or a datetime, not {type(moment).__name__}")
    if not math.isfinite(moment):
        raise ValueError("expires_at must be finite; None means until the server rejects it")
    return float(moment)


@runtime_checkable
class Credential(Protocol):
    """Gives the password or token for each new connection. Any object with this method can be a credential."""

    def current(self) -> str | Secret | Token:
        """The password or token to log in with now.

        Called from any thread, and called again when the server rejects the answer. A ``Token`` is kept until shortly
        before it expires; a plain ``str`` is asked for at every connection attempt.
        """


class BaseCredential:
    """Base class of dbkit's own credentials: all that the connector may ask, with a default for each.

    ``resolve.choose`` wraps anything else that an application gives, so that no code below asks what an object can do.
    """

    fixed: ClassVar[bool] = False
    """Whether it always gives the same, so that there is no use in asking again when the server rejects it."""

    gives_tokens: ClassVar[bool] = False
    """Whether it gives nothing but tokens, so that an unsafe route can be refused before anything is asked."""

    def current(self) -> Secret | Token:
        """The password or token to log in with now.

        Raises:
            CredentialError: there is none to be had.
        """
        raise NotImplementedError

    def renewed(self, rejected: Secret | Token) -> Secret | Token | None:
        """Another password or token than the one that the server rejected; None if there is no other.

        Raises:
            CredentialError: as ``current()``.
        """
        found = self.current()
        return None if text_of(found) == text_of(rejected) else found

    def refresh(self) -> None:
        """Fetch a fresh token for the next connections; by default there is nothing to do.

        Raises:
            CredentialError: there is none to be had; the one at hand stays in use.
        """

    def pending(self) -> str | None:
        """Says in a sentence for whom it waits at this moment; None for nobody."""
        return None

    def bound_to(self, settings: DatabaseSettings) -> BaseCredential:
        """The credential for connections with these settings; itself, unless its tokens are made for one server.

        Raises:
            SettingsError: the settings do not say enough.
        """
        return self

    def __repr__(self) -> str:
        return type(self).__name__


class StaticPassword(BaseCredential):
    """A password that never changes."""

    fixed = True

    def __init__(self, password: str | Secret) -> None:
        self._password = password if isinstance(password, Secret) else Secret(password)

    def current(self) -> Secret:
        """The password."""
        return self._password


@dataclass(frozen=True, slots=True)
class Lease:
    """A token at hand: when to ask for the next one, and until when this one is used. Seconds since the epoch."""

    token: Token
    refresh_at: float
    unusable_at: float

    @classmethod
    def of(cls, token: Token, now: float) -> Self:
        """The lease of a token that arrived just now. A short life scales both margins down: a third, and a tenth."""
        if token.expires_at is None:
            return cls(token, math.inf, math.inf)
        left = max(token.expires_at - now, 0.0)
        return cls(
            token,
            refresh_at=token.expires_at - min(REFRESH_AHEAD, left / 3),
            unusable_at=token.expires_at - min(SAFETY, left / 10),
        )

    def outlasts(self, other: Lease | None) -> bool:
        """Whether this one is the better of the two to have."""
        return other is None or self.unusable_at > other.unusable_at


def text_of(proof: Secret | Token) -> Secret:
    """The text to log in with, still wrapped."""
    return proof.value if isinstance(proof, Token) else proof


def checked_proof(given: object) -> Secret | Token:
    """Return the answer of a credential, if one can log in with it.

    Raises:
        TypeError: it is neither text nor a ``Token``.
        ValueError: it is empty, or holds what no password can hold.
    """
    proof = Secret(given) if isinstance(given, str) else given
    if not isinstance(proof, Secret | Token):
        close = getattr(given, "close", None)
        if close is not None and hasattr(given, "__await__"):
            close()  # a coroutine that is never awaited
        raise TypeError(f"it must give a str or a Token, not {type(given).__name__}")
    text = text_of(proof)
    if text == Secret(""):
        raise ValueError("it gave an empty text")
    flaw = text.flaw()
    if flaw is not None:
        raise ValueError(f"the text it gave {flaw}")
    return proof


def without_tracebacks(error: BaseException) -> BaseException:
    """The error and all it is chained to, without their frames: those may hold tokens and keys in their locals."""
    todo: list[object] = [error]
    seen: set[int] = set()
    while todo:
        link = todo.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            todo += [link.__cause__, link.__context__]
            if isinstance(link, BaseExceptionGroup):
                todo += link.exceptions
    return error


def said(error: BaseException | None) -> str:
    """An error in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - another library's class, whose text cannot be had
        text = ""
    if isinstance(error, DbkitError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
