"""Will it pass? What a failed connect says about trying again, and how long to wait before doing so.

psycopg2 gives no SQLSTATE for a connect that failed: all there is to go by is libpq's text, in which two voices speak
(``libpq_text.py``). Everything below follows from telling them apart.

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
import locale
import os
import re
from collections.abc import Iterable

from dbkit.diagnosis import libpq_text, phrases


def is_transient(error: BaseException) -> bool:
    """Whether connecting again soon may succeed where this attempt failed.

    Args:
        error: what the physical connect raised: psycopg2's error, another driver's, an ``OSError``, or any of them
            wrapped (SQLAlchemy's ``orig``, or ``__cause__``). A SQLSTATE is believed before any text.

    Returns:
        True while the server is unreachable, restarting, full, or read-only in the middle of a failover; False when
        it (or TLS, or a setting) said no, for bugs, interrupts, and for whatever is not recognised.
    """
    for link in libpq_text.links(error):
        verdict = _judge(link)
        if verdict is not _Verdict.UNKNOWN:
            return verdict is _Verdict.PASSING
    return False


class _Verdict(enum.Enum):
    PASSING = "may pass"
    REFUSED = "will not pass by itself"
    UNKNOWN = "says nothing either way"


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


def _judge(error: BaseException) -> _Verdict:
    state = libpq_text.sqlstate(error)
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


def _judge_os_error(error: OSError, kinds: set[str]) -> _Verdict:
    if "gaierror" in kinds:
        return _Verdict.PASSING if error.errno in _PASSING_LOOKUPS else _Verdict.UNKNOWN
    if isinstance(error, TimeoutError | ConnectionError) or error.errno in _PASSING_ERRNOS:
        return _Verdict.PASSING
    if isinstance(error, FileNotFoundError) and error.filename is None:  # a socket; a missing file has its name here
        return _Verdict.PASSING
    return _Verdict.UNKNOWN


def _judge_bytes(raw: bytes) -> _Verdict:
    """A message in an encoding nobody has named yet: one reading that means "not now" is enough."""
    verdicts = {_judge_text(reading) for reading in libpq_text.readings(raw)}
    return _Verdict.PASSING if _Verdict.PASSING in verdicts else _Verdict.REFUSED


# ---- libpq's text --------------------------------------------------------------------------------------------------

_CLAUSE = re.compile(r": |[:：]")  # the heart of the matter may follow: ``could not receive data: Broken pipe``
_SOCKET = ".s.PGSQL."


def _judge_text(text: str) -> _Verdict:
    attempts = libpq_text.attempts(text)
    if not attempts:
        return _judge_lines(text)
    addresses: dict[str, set[_Verdict]] = {}
    for attempt in attempts:
        addresses.setdefault(attempt.address, set()).add(_judge_attempt(attempt))
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


def _judge_attempt(attempt: libpq_text.Attempt) -> _Verdict:
    said = attempt.said
    _, answer = libpq_text.voices(said)
    if answer is not None:
        return _judge_answer(answer)
    if _passes_for_client(said, on_socket=_SOCKET in attempt.address):
        return _Verdict.PASSING
    if attempt.found_no_address or said.startswith(tuple(map(os.strerror, errno.errorcode))):
        return _Verdict.UNKNOWN  # not reached, but no answer either
    return _Verdict.REFUSED


def _judge_lines(text: str) -> _Verdict:
    """What libpq before 14, or one that speaks the user's language, says: lines, of which some begin an attempt."""
    verdicts = set()
    heard = False
    for line in libpq_text.lines(text):
        label, answer = libpq_text.voices(line)
        if answer is not None:
            if heard and not _CLAUSE.search(label):
                continue  # a DETAIL or HINT of the answer above
            heard = True
            verdicts.add(_judge_answer(answer))
        elif _passes_for_client(line, on_socket=_SOCKET in text):
            verdicts.add(_Verdict.PASSING)
    return _weigh(verdicts)


def _judge_answer(answer: str) -> _Verdict:
    """What the server's message says, its severity taken off."""
    reason = libpq_text.cached_reason(answer)
    if reason == "":
        return _Verdict.PASSING
    passing = libpq_text.begins_with_any(phrases.SERVER).match(reason or answer)
    return _Verdict.PASSING if passing else _Verdict.REFUSED


def _passes_for_client(said: str, *, on_socket: bool) -> bool:
    numbers = _PASSING_ERRNOS | {errno.ENOENT} if on_socket else _PASSING_ERRNOS
    system = (*map(os.strerror, numbers), *_lookup_texts())
    remark = libpq_text.begins_with_any(phrases.CLIENT).match
    clauses = [said, *(said[clause.end() :] for clause in _CLAUSE.finditer(said))]
    return any(clause.lstrip().startswith(system) or remark(clause.lstrip()) for clause in clauses)


def _lookup_texts() -> tuple[str, ...]:
    """``getaddrinfo``'s words for "ask again later": glibc's, also in this process's language, and musl's."""
    glibc = "Temporary failure in name resolution"
    translate = getattr(locale, "dgettext", None)  # only where the C library translates
    return (glibc, "Try again", translate("libc", glibc) if translate else glibc)
