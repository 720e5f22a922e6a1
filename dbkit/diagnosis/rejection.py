"""Was the login rejected? Then a fresh password or token may be accepted where the last one was not.

The server answered, and it said neither "not now" nor a refusal that no password changes (no such database, no
pg_hba.conf entry, TLS). An answer that is not known here, in another language perhaps, counts: a wrong guess costs one
fetch and one connection attempt, a missed rejection would be an outage until the token at hand expires. An empty
password counts too, though libpq says so itself: a file that is just being written looks so.

One rejected login among several attempts is enough: with TLS the token has expired, then without TLS there is "no
pg_hba.conf entry", and libpq tells both.

Pure: no clock, no I/O, no lock; safe from any thread and in a forked child.
"""

from __future__ import annotations

from dbkit.diagnosis.answers import Answer, answers, links

_REJECTIONS = {Answer.BAD_LOGIN, Answer.FOREIGN}


def is_rejection(error: BaseException) -> bool:
    """Whether the server, or the pooler in front of it, rejected this login or may have.

    Args:
        error: what the connection attempt raised: a driver's error, bare or wrapped (SQLAlchemy's ``orig``, or
            ``__cause__``).

    Returns:
        True where another password or token may be accepted; False for every other failure, bugs and interrupts.
    """
    return any(told & _REJECTIONS for link in links(error) for told in answers(link))
