"""Will it pass? What a failed connect says about trying again, and how long to wait before doing so.

psycopg2 gives no SQLSTATE for a connect that failed: all there is to go by is libpq's text, in which two voices speak.
Everything below follows from telling them apart.

- **The server's voice** is ``SEVERITY:  message``, with two spaces in every language. Somebody is there and has
  answered, so this is permanent unless it is one of the few messages that mean "not now". Those come in the *server's*
  language, so they are known by how PostgreSQL's own translations of them begin (``phrases.py``).
- **The client's voice** is everything else. System errors are recognised by ``os.strerror``, which speaks the language
  this process speaks, the rest by libpq's phrases.

A phrase counts only where a message begins: a database called ``the database system is starting up`` fools nobody.

Several hosts are several attempts in one text. Per address (TLS first, then plain) one passing trouble is enough.
Across addresses **a refusal outweighs a passing trouble**. libpq asks the next host after "not reached" and "starting
up", never after a refusal, so a refusal is the last word of a server that is up, and another attempt would meet it
again: ``localhost`` is refused on ``::1``, then answers "wrong password" on ``127.0.0.1``. A host that was only not
reached, or has no name any more (a pod being replaced), does not outweigh another one's passing trouble.

What nobody recognises is **permanent**: the borrower gets the real error at once. The other way round, a typo in a
setting would show as thirty seconds of silence, while an unknown outage merely costs a caller the wait.

Pure: no clock, no I/O, no lock; safe from any thread and in a forked child.
"""

from __future__ import annotations

import enum
import errno
import functools
import locale
import os
import re
from collections.abc import Iterable, Iterator

from dbkit.pool import phrases

SHORTEST_DELAY = 0.1
"""Seconds: no retry comes sooner."""

LONGEST_DELAY = 5.0
"""Seconds: no retry comes later."""


def is_transient(error: BaseException) -> bool:
    """Whether connecting again soon may succeed where this attempt failed.

    Args:
        error: what the physical connect raised: psycopg2's error, another driver's, an ``OSError``, or any of them
            wrapped (SQLAlchemy's ``orig``, or ``__cause__``). A SQLSTATE is believed before any text.

    Returns:
        True while the server is unreachable, restarting, full, or read-only in the middle of a failover; False when
        it (or TLS, or a setting) said no, for bugs, interrupts, and for whatever is not recognised.
    """
    for link in _links(error):
        verdict = _judge(link)
        if verdict is not _Verdict.UNKNOWN:
            return verdict is _Verdict.PASSING
    return False


def retry_delay(failures: int, jitter: float) -> float:
    """How long to wait after a failed attempt: 0.1 s at first, doubling, below 5 s, spread so that no herd forms.

    Args:
        failures: attempts that failed in a row, 1 or more.
        jitter: a fresh random number, 0 <= jitter < 1; the delay grows with it to just under twice its least.

    Returns:
        Seconds: from 0.1 up to 0.2 after one failure, from 0.2 up to 0.4 after two, ..., from 2.5 up to 5 at last.

    Raises:
        ValueError: either argument is out of its range.
    """
    if failures < 1:
        raise ValueError(f"failures must be 1 or more, not {failures!r}")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be 0 or more and below 1, not {jitter!r}")
    doublings = min(failures - 1, 16)  # far beyond the cap, far below overflow
    least: float = min(SHORTEST_DELAY * 2**doublings, LONGEST_DELAY / 2)
    return least * (1 + jitter)


class _Verdict(enum.Enum):
    PASSING = "may pass"
    REFUSED = "will not pass by itself"
    UNKNOWN = "says nothing either way"


def _links(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, outermost first; a wrapper's ``orig`` speaks in its place."""
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


# ---- one exception -------------------------------------------------------------------------------------------------

_PASSING_STATES = frozenset(
    (
        *("08000", "08001", "08003", "08006"),  # connection exceptions
        "25006",  # read-only: a demoted primary
        *("53000", "53200", "53300"),  # out of resources, memory, connections
        *("57014", "57P01", "57P02", "57P03"),  # login took too long; shut down, crashed, cannot connect now
    )
)
_VAGUE_STATES = frozenset({"08P01"})  # PgBouncer says everything with it: only the text tells

_PASSING_ERRNOS = frozenset(
    (
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT),
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
        *(errno.EAGAIN, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM),  # queue, ports, memory used up for now
    )
)
_PASSING_LOOKUPS = frozenset({-3, 2, 11002})  # EAI_AGAIN on Linux, BSD and macOS, Windows

_BUGS = frozenset({"ProgrammingError", "NotSupportedError", "DataError", "IntegrityError"})  # DB-API's own names

_LEGACY_CODECS = ("cp1252", "cp1250", "cp1251", "koi8_r", "iso8859_5", "euc_jp", "shift_jis", "gb18030", "euc_kr")


def _judge(error: BaseException) -> _Verdict:
    state = _sqlstate(error)
    if state is not None and state not in _VAGUE_STATES:
        return _Verdict.PASSING if state in _PASSING_STATES else _Verdict.REFUSED
    kinds = {kind.__name__ for kind in type(error).__mro__}
    match error:
        case OSError():
            return _judge_os_error(error, kinds)
        case UnicodeDecodeError():
            return _judge_bytes(error.object)
        case Exception() if type(error).__module__ == "builtins":
            return _Verdict.UNKNOWN  # no driver's text: a bug, or something that only its cause explains
        case Exception() if not kinds & _BUGS:
            return _judge_text(str(error))
    return _Verdict.REFUSED  # a bug in the caller, Ctrl-C, exit


def _sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE, wherever the driver keeps it (psycopg2 ``pgcode``, psycopg and asyncpg ``sqlstate``)."""
    for holder, name in ((error, "pgcode"), (error, "sqlstate"), (getattr(error, "diag", None), "sqlstate")):
        state = getattr(holder, name, None)
        if isinstance(state, str) and state:
            return state
    return None


def _judge_os_error(error: OSError, kinds: set[str]) -> _Verdict:
    if "gaierror" in kinds:
        return _Verdict.PASSING if error.errno in _PASSING_LOOKUPS else _Verdict.UNKNOWN
    if isinstance(error, TimeoutError | ConnectionError) or error.errno in _PASSING_ERRNOS:
        return _Verdict.PASSING
    if isinstance(error, FileNotFoundError) and error.filename is None:  # a socket; a missing file has its name here
        return _Verdict.PASSING
    return _Verdict.UNKNOWN


def _judge_bytes(raw: bytes) -> _Verdict:
    """A server that is not up yet answers in its own encoding, and psycopg2 then raises ``UnicodeDecodeError``."""
    verdicts = {_judge_text(raw.decode(codec, "replace")) for codec in _LEGACY_CODECS}
    return _Verdict.PASSING if _Verdict.PASSING in verdicts else _Verdict.REFUSED


# ---- libpq's text --------------------------------------------------------------------------------------------------

# How libpq begins to speak of an attempt, in its own words (in psycopg2's wheels it has no others). A quote before
# it on the line would mean that it stands inside a name.
_ATTEMPT = re.compile(
    r'^[^"\n]*?(?P<address>connection to server (?:at|on socket) "[^"\n]*"[^"\n]*? failed: '
    r'|could not translate host name "[^\n]*?" to address: )',
    re.MULTILINE,
)
_CLAUSE = re.compile(r": |[:：]")  # the heart of the matter may follow: ``could not receive data: Broken pipe``
_BOUNCER_CACHED = re.compile(r"server login has been failing, cached error: (?P<reason>.*?) ?\(server_login_retry\)")
_NAME = re.compile(r'"[^"\n]*"')  # taken out first: what a database is called is no symptom
_SOCKET = ".s.PGSQL."
_LOOKUP = "could not translate"


def _judge_text(text: str) -> _Verdict:
    attempts = list(_ATTEMPT.finditer(text))
    if all(attempt["address"].startswith(_LOOKUP) for attempt in attempts):
        return _judge_lines(text)
    ends = [attempt.start() for attempt in attempts[1:]] + [len(text)]
    addresses: dict[str, set[_Verdict]] = {}
    for attempt, end in zip(attempts, ends, strict=True):
        # Only the first line: DETAIL, HINT and libpq's advice come after it.
        said = text[attempt.end() : end].partition("\n")[0]
        address = attempt["address"]
        addresses.setdefault(address, set()).add(_judge_attempt(address, said))
    return _weigh(
        _Verdict.PASSING if _Verdict.PASSING in verdicts else _weigh(verdicts) for verdicts in addresses.values()
    )


def _weigh(verdicts: Iterable[_Verdict]) -> _Verdict:
    """What several addresses come to: a refusal outweighs a passing trouble, which outweighs silence."""
    found = set(verdicts)
    for verdict in (_Verdict.REFUSED, _Verdict.PASSING):
        if verdict in found:
            return verdict
    return _Verdict.UNKNOWN


def _judge_attempt(address: str, said: str) -> _Verdict:
    said = _NAME.sub('""', said)
    _, answered, answer = said.partition(":  ")
    if answered:
        return _judge_answer(answer)
    if _passes_for_client(said, on_socket=_SOCKET in address):
        return _Verdict.PASSING
    if address.startswith(_LOOKUP) or said.startswith(tuple(map(os.strerror, errno.errorcode))):
        return _Verdict.UNKNOWN  # not reached, but no answer either
    return _Verdict.REFUSED


def _judge_lines(text: str) -> _Verdict:
    """What libpq before 14, or one that speaks the user's language, says: lines, of which some begin an attempt."""
    verdicts = set()
    heard = False
    for line in _NAME.sub('""', text).splitlines():
        label, answered, answer = line.partition(":  ")
        if answered:
            if heard and not _CLAUSE.search(label):
                continue  # a DETAIL or HINT of the answer above
            heard = True
            verdicts.add(_judge_answer(answer))
        elif _passes_for_client(line, on_socket=_SOCKET in text):
            verdicts.add(_Verdict.PASSING)
    return _weigh(verdicts)


def _judge_answer(answer: str) -> _Verdict:
    """What the server's message says, its severity taken off."""
    cached = _BOUNCER_CACHED.match(answer)
    if cached:
        answer = cached["reason"]
        if not answer:
            return _Verdict.PASSING
    return _Verdict.PASSING if _begins_with_any(phrases.SERVER).match(answer) else _Verdict.REFUSED


def _passes_for_client(said: str, *, on_socket: bool) -> bool:
    numbers = _PASSING_ERRNOS | {errno.ENOENT} if on_socket else _PASSING_ERRNOS
    system = (*map(os.strerror, numbers), *_lookup_texts())
    remark = _begins_with_any(phrases.CLIENT).match
    clauses = [said, *(said[clause.end() :] for clause in _CLAUSE.finditer(said))]
    return any(clause.lstrip().startswith(system) or remark(clause.lstrip()) for clause in clauses)


def _lookup_texts() -> tuple[str, ...]:
    """``getaddrinfo``'s words for "ask again later": glibc's, also in this process's language, and musl's."""
    glibc = "Temporary failure in name resolution"
    translate = getattr(locale, "dgettext", None)  # only where the C library translates
    return (glibc, "Try again", translate("libc", glibc) if translate else glibc)


@functools.cache
def _begins_with_any(beginnings: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join("".join(map(_letter, phrase)) for phrase in beginnings), re.IGNORECASE)


def _letter(letter: str) -> str:
    if letter == "*":
        return ".*"
    if "\x80" <= letter < "\u0250":  # accented: a server whose own locale is C sends a question mark
        return rf"(?:{letter}|\?)"
    return re.escape(letter)
