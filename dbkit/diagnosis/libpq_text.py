"""How a connect that failed speaks: the parts that ``outage`` and ``dbkit.diagnosis.rejection`` listen to alike.

psycopg2 gives no SQLSTATE for a connect that failed: all there is to go by is libpq's text, in which two voices speak.
The server's is ``SEVERITY:  message``, with two spaces in every language; the client's is everything else. One text may
tell of several attempts: several hosts, or one host over TLS and then without.

A phrase counts only where a message begins, and names are taken out first: a database called ``the database system is
starting up`` fools nobody.

Pure: no clock, no I/O, no lock; safe from any thread and in a forked child.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass


def links(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps, outermost first; a wrapper's ``orig`` speaks in its place."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        inner = getattr(link, "orig", None)
        if isinstance(inner, BaseException):
            link = inner
            continue
        yield link
        link = link.__cause__


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE, wherever the driver keeps it (psycopg2 ``pgcode``, psycopg and asyncpg ``sqlstate``)."""
    for holder, name in ((error, "pgcode"), (error, "sqlstate"), (getattr(error, "diag", None), "sqlstate")):
        state = getattr(holder, name, None)
        if isinstance(state, str) and state:
            return state
    return None


_LEGACY_CODECS = ("cp1252", "cp1250", "cp1251", "koi8_r", "iso8859_5", "euc_jp", "shift_jis", "gb18030", "euc_kr")


def readings(raw: bytes) -> Iterator[str]:
    """Yield what the bytes of a server's message may mean.

    A server that has not let us in yet answers in its own encoding, and psycopg2 then raises ``UnicodeDecodeError``.
    """
    for codec in _LEGACY_CODECS:
        yield raw.decode(codec, "replace")


# ---- libpq's text --------------------------------------------------------------------------------------------------

# How libpq begins to speak of an attempt, in its own words (in psycopg2's wheels it has no others). A quote before
# it on the line would mean that it stands inside a name. Text, not compiled: most programs never see a failure.
_ATTEMPT = (
    r'(?m)^[^"\n]*?(?P<address>connection to server (?:at|on socket) "[^"\n]*"[^"\n]*? failed: '
    r'|could not translate host name "[^\n]*?" to address: )'
)
_BOUNCER_CACHED = r"server login has been failing, cached error: (?P<reason>.*?) ?\(server_login_retry\)"
_NAME = r'"[^"\n]*"'
_LOOKUP = "could not translate"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a connect: libpq's words for the address, and what was said first, names taken out."""

    address: str
    said: str

    @property
    def found_no_address(self) -> bool:
        """Whether the host's name could not be looked up."""
        return self.address.startswith(_LOOKUP)


def attempts(text: str) -> tuple[Attempt, ...]:
    """Return the attempts that libpq tells of; none where it is older than 14, or speaks the user's language.

    The text is then lines, of which some begin an attempt (``lines``).
    """
    found = list(re.finditer(_ATTEMPT, text))
    ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
    told = tuple(
        # Only the first line: DETAIL, HINT and libpq's advice come after it.
        Attempt(match["address"], _without_names(text[match.end() : end].partition("\n")[0]))
        for match, end in zip(found, ends, strict=True)
    )
    return () if all(attempt.found_no_address for attempt in told) else told


def lines(text: str) -> list[str]:
    """Return the lines of the text, names taken out."""
    return _without_names(text).splitlines()


def _without_names(text: str) -> str:
    return re.sub(_NAME, '""', text)


def voices(said: str) -> tuple[str, str | None]:
    """Return what comes before the server's message, and the message; None where the server has not spoken."""
    label, answered, answer = said.partition(":  ")
    return label, answer if answered else None


def cached_reason(answer: str) -> str | None:
    """Return why PgBouncer could not log in lately, perhaps ''; None where the answer is not about that."""
    cached = re.match(_BOUNCER_CACHED, answer)
    return cached["reason"] if cached else None


@functools.cache
def begins_with_any(beginnings: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern whose ``match`` knows these beginnings: ``*`` is anything, ``%`` at most one word."""
    return re.compile("|".join("".join(map(_letter, phrase)) for phrase in beginnings), re.IGNORECASE)


_WILD = {"*": ".*", "%": r"\S*"}


def _letter(letter: str) -> str:
    if letter in _WILD:
        return _WILD[letter]
    if "\x80" <= letter < "\u0250":  # accented: a server whose own locale is C sends a question mark
        return rf"(?:{letter}|\?)"
    return re.escape(letter)
