"""Was it the login that was refused? If so, a fresh password or token may succeed where the last one failed.

psycopg2 gives no SQLSTATE for a connect that failed, so libpq's text decides (``dbkit.diagnosis.libpq_text`` tells
who speaks in it). Where another driver gives one, 28P01 and 28000 decide, whatever the text says.

- **A refusal of the login** by PostgreSQL, a cloud's own check of tokens, or a pooler counts, whatever method was asked
  for, in PostgreSQL's languages. They are known by how they begin (``rejection_phrases.py``).
- **What a fresh secret cannot mend** does not count: no entry in pg_hba.conf, a role that does not exist or may not
  log in (PostgreSQL says so only once it has believed the secret: before, both are a wrong password), a missing
  database, a full server, TLS.
- **One refused login among several attempts is enough**: over TLS the token has expired, then without TLS there is "no
  pg_hba.conf entry"; libpq tells both.
- **An empty password** counts: libpq says so itself, without asking. A file read while it is being written looks so.
- **What cannot be read** counts. A server whose locale is C sends question marks for many languages. To be wrong costs
  one fetch and one connect; to miss an expired token costs an outage.

Pure: no clock, no I/O, no lock; safe from any thread and in a forked child.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbkit.diagnosis import libpq_text
from dbkit.diagnosis import rejection_phrases as phrases

_REFUSED_STATES = frozenset({"28P01", "28000"})
_VAGUE_CLASSES = ("08", "XX")  # poolers and proxies say everything with them: only the text tells


def is_rejection(error: BaseException) -> bool:
    """Whether the server, or the pooler in front of it, refused this login.

    Args:
        error: what the physical connect raised: psycopg2's error, another driver's, or either of them wrapped
            (SQLAlchemy's ``orig``, or ``__cause__``).

    Returns:
        True where another password or token may be let in; False for every other failure, for bugs, interrupts, and
        for whatever is not recognised.
    """
    return any(_refuses(link) for link in libpq_text.links(error))


def _refuses(error: BaseException) -> bool:
    if isinstance(error, UnicodeDecodeError):
        return any(_tells_of_refusal(reading) for reading in libpq_text.readings(error.object))
    if not isinstance(error, Exception) or type(error).__module__ == "builtins":
        return False  # no driver's text
    state = libpq_text.sqlstate(error)
    if state is None:
        return _tells_of_refusal(str(error))
    if state.startswith(_VAGUE_CLASSES):
        # A driver that knows the SQLSTATE has mostly taken the severity off.
        first = libpq_text.lines(str(error))[:1]
        return _tells_of_refusal(str(error)) or any(map(_is_refusal, first))
    return state in _REFUSED_STATES


def _tells_of_refusal(text: str) -> bool:
    return any(_is_refused(said) for said in _sayings(text))


def _sayings(text: str) -> Iterator[str]:
    attempts = libpq_text.attempts(text)
    if attempts:
        yield from (attempt.said for attempt in attempts)
    else:
        yield from libpq_text.lines(text)


def _is_refused(said: str) -> bool:
    _, answer = libpq_text.voices(said)
    if answer is None:
        return bool(libpq_text.begins_with_any(phrases.CLIENT).match(said))
    return _is_refusal(libpq_text.cached_reason(answer) or answer)


def _is_refusal(answer: str) -> bool:
    return bool(libpq_text.begins_with_any(phrases.SERVER).match(answer))
