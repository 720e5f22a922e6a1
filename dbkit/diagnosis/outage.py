"""Is a failed connection attempt a refusal, or an outage that may pass? In doubt it may pass.

A pool that has worked rides out everything but a *known refusal*: its settings were good, so an unreachable server, a
restart, a full server, a name that is not resolved, and a message not known here (in any language) are most likely an
outage. Borrowers then wait; the real error is the cause of their timeout. A pool that never worked tells every failure
at once; that is decided in ``core/reconnecting.py``.

Known refusals:

- **The server's**: a wrong password, no such database or role, no pg_hba.conf entry, an unknown parameter; by SQLSTATE
  or in PostgreSQL's English words.
- **TLS's**: the server has none, or cannot prove who it is.
- **No server's doing**: a bug (``TypeError``, DB-API's ``ProgrammingError``), bad settings, no token to be had, Ctrl-C,
  and any exception that is neither a driver's (known by DB-API's class names) nor an ``OSError``, unless its cause is.

Several hosts are several attempts in one error. **A refusal by one address outweighs trouble with another.** libpq asks
the next address after "not reached" and "starting up", never after a refusal, so a refusal is the last word of a server
that is up, and the next attempt would meet it again: ``localhost`` is not reached on ``::1``, then answers "wrong
password" on ``127.0.0.1``. At one address it is the other way round: asked with TLS and then without, it may be full
the first time and have "no pg_hba.conf entry" the second, and only the first answer counts.

Pure: no clock, no I/O, no lock; safe from any thread and in a forked child.
"""

from __future__ import annotations

from dbkit.diagnosis.answers import Answer, answers, kinds, links, sqlstate
from dbkit.errors import DbkitError


def is_refusal(error: BaseException) -> bool:
    """Whether connecting again soon is known to be of no use.

    Args:
        error: what the connection attempt raised: a driver's error, an ``OSError``, a ``DbkitError``, anything else, or
            one of them wrapped (SQLAlchemy's ``orig``, or ``__cause__``). A SQLSTATE counts before any text.

    Returns:
        True for a known refusal by the server or TLS, bad settings, bugs and interrupts; False for every other failure
        that a driver or the operating system reports.
    """
    chain = list(links(error))
    for link in chain:
        if _refuses(link):
            return True
        if _passes(link):
            return False
    return isinstance(error, DbkitError) or not isinstance(next(iter(chain), error), OSError)


_BUGS = frozenset({"ProgrammingError", "NotSupportedError", "DataError", "IntegrityError"})
_DRIVERS = frozenset({"Error", "DatabaseError", "InterfaceError"})
_REFUSALS = {Answer.BAD_LOGIN, Answer.NO}


def _refuses(error: BaseException) -> bool:
    if not isinstance(error, Exception) or (kinds(error) & _BUGS and sqlstate(error) is None):
        return True
    if isinstance(error, OSError) and (error.filename is not None or "SSLCertVerificationError" in kinds(error)):
        return True  # a certificate or key that is not there; a server that could not prove who it is
    return any(told & _REFUSALS and Answer.NOT_NOW not in told for told in answers(error))


def _passes(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno is not None
    if isinstance(error, DbkitError):
        return False  # its cause may explain it
    if isinstance(error, UnicodeDecodeError):
        return bool(answers(error))
    return sqlstate(error) is not None or bool(kinds(error) & _DRIVERS)
