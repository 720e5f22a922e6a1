"""The server's answer to a connection attempt that failed, read from the driver's error.

A SQLSTATE tells, where the driver gives one. psycopg2 and psycopg 3 give none for a failed connection attempt: libpq's
text is all there is, and two voices speak in it. **The server** says ``SEVERITY:  message``, with two spaces in every
language. **The client**, libpq itself, says everything else. One text may tell of several attempts: several hosts,
several addresses of a host, or one address with TLS and then without.

Only English is known here. A server's answer in another language is ``FOREIGN``; ``outage`` and ``rejection`` each say
what that means to them.

No name fools this: a message is known by how it begins, quoted names are taken out first, and the indented lines are
skipped, in which libpq gives advice and dbkit tells where the settings came from.

Pure: no clock, no I/O, no lock; safe from any thread and in a forked child.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping


class Answer(enum.Enum):
    """The answer to one attempt."""

    NOT_NOW = "the server is starting, stopping, full, or in no state to serve"
    BAD_LOGIN = "the server rejected the login; another password or token may be accepted"
    NO = "the server, or TLS, refused for a reason that no password or token changes"
    FOREIGN = "the server answered in words that are not known here"
    NONE = "no answer: not reached, cut off, timed out, or libpq said something that is not known here"


def links(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, outermost first; a wrapper's ``orig`` (SQLAlchemy's) takes its place."""
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


def kinds(error: BaseException) -> frozenset[str]:
    """The names of the error's classes: every driver has classes of its own, with the names that DB-API prescribes."""
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE, wherever the driver keeps it: psycopg2 in ``pgcode``, psycopg 3 and asyncpg in ``sqlstate``, pg8000
    in the server's own fields, of which ``C`` is the code."""
    for holder, name in ((error, "pgcode"), (error, "sqlstate"), (getattr(error, "diag", None), "sqlstate")):
        state = getattr(holder, name, None)
        if isinstance(state, str) and state:
            return state
    fields = error.args[0] if error.args else None
    code = fields.get("C") if isinstance(fields, dict) else None
    return code if isinstance(code, str) and code else None


def answers(error: BaseException) -> list[set[Answer]]:
    """The answers at each address: one set for each, empty where the error tells of no attempt.

    Args:
        error: one link of what was raised; see ``links``.
    """
    state = sqlstate(error)
    if state is not None:
        return [{_of_state(state, str(error))}]
    if isinstance(error, UnicodeDecodeError):  # psycopg2: the server answered in an encoding of its own
        text = error.object.decode(errors="replace")
        return _of_text(text) if _SERVER in text else []
    if not isinstance(error, Exception) or type(error).__module__ == "builtins":
        return []
    return _of_text(str(error))


# ---- SQLSTATE

_LOGIN_STATES = ("28P01", "28000")
_VAGUE_STATES = ("08", "XX")  # poolers, proxies and clients use them for everything: the text tells
_REFUSING_STATES = ("0A", "0P", "22", "28", "3D", "3F", "42", "55000")


def _of_state(state: str, text: str) -> Answer:
    if state in _LOGIN_STATES:
        return Answer.BAD_LOGIN
    if state.startswith(_VAGUE_STATES):  # a driver that knows the SQLSTATE has mostly taken the severity off
        said = _without_names(text).partition("\n")[0]
        return _known(said.partition(_SERVER)[2] or said, _SERVERS_WORDS) or Answer.NONE
    return Answer.NO if state.startswith(_REFUSING_STATES) else Answer.NOT_NOW


# ---- libpq's text. Patterns are text, not compiled: most programs never see a failure.

_SERVER = ":  "
"""Between the severity and the message."""

_ATTEMPT = r'(?m)^[^"\n]*?(connection to server (?:at|on socket) "[^"\n]*"[^"\n]*? failed: )(.*)'
"""How libpq tells of an attempt, since version 14. A quote before it would mean that it stands inside a name."""

_SERVERS_WORDS: Mapping[Answer, str] = {
    Answer.NOT_NOW: (
        "the database system is |sorry, too many clients|too many connections|remaining connection slots"
        "|canceling authentication due to timeout|terminating connection"
        # poolers: PgBouncer, Supavisor, RDS Proxy
        r"|no more connections|query_wait_timeout|connect failed|server login|\(server_login_retry\)|max client"
        "|.*too many competing requests"
    ),
    Answer.NO: (
        r'(?:database|role) "" (?:does not exist|is not )|no pg_hba\.conf entry|pg_hba\.conf rejects|permission denied'
        '|connection requires a valid client certificate|unrecognized configuration parameter|parameter ""'
        "|unsupported |invalid |no PostgreSQL user name"
        "|no such (?:user|database)|tenant or user not found|this RDS proxy has no credentials|.*only with SSL"
    ),
    Answer.BAD_LOGIN: (
        # whatever method pg_hba.conf asks for; PgBouncer, Pgpool, Odyssey; the clouds' own checks of tokens
        r".*\bauth(?:entication)? failed|empty password|the password |.*incorrect password|.*\btoken\b|.*access denied"
    ),
}
"""How the server's messages begin, severity taken off; the first that fits counts."""

_CLIENTS_WORDS: Mapping[Answer, str] = {
    Answer.BAD_LOGIN: "fe_sendauth: no password supplied",  # it is empty: a file that is just being written
    Answer.NO: (
        "server does not support SSL|SSL error: .*(?:certificate|unknown ca|version)|server certificate for "
        "|could not get server's host name|host name must be specified"
        "|(?:root )?certificate |private key |could not (?:read|load|open) (?:root |private )?(?:certificate|key)"
        "|authentication method|channel binding|could not verify server signature|incorrect server signature"
        r"|invalid \w+ (?:value|number|option)|definition of service|weak sslmode"
    ),
}
"""How libpq's own messages begin, where they mean a refusal."""


def _of_text(text: str) -> list[set[Answer]]:
    text = re.sub(r"(?m)^\t.*$", "", text)
    addresses: dict[str, set[Answer]] = {}
    for address, said in re.findall(_ATTEMPT, text):
        addresses.setdefault(address, set()).add(_of_message(_without_names(said)))
    if addresses:
        return list(addresses.values())
    # libpq before 14, one that speaks the user's language, or one that got no further than its own settings
    lines = _without_names(text).splitlines()
    return [{_of_message(line)} for line in lines if not line.startswith(("DETAIL:", "HINT:"))]


def _without_names(text: str) -> str:
    return re.sub(r'"[^"\n]*"', '""', text)


def _of_message(said: str) -> Answer:
    _, answered, message = said.partition(_SERVER)
    if answered:
        message = message.removeprefix("server login has been failing, cached error: ")  # PgBouncer
        return _known(message, _SERVERS_WORDS) or Answer.FOREIGN
    said = re.sub(r"^connection (?:failed|is bad): ", "", said)  # psycopg 3
    return _known(said, _CLIENTS_WORDS) or Answer.NONE


def _known(message: str, words: Mapping[Answer, str]) -> Answer | None:
    return next((answer for answer, known in words.items() if re.match(known, message, re.IGNORECASE)), None)
