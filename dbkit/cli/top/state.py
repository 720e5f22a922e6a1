"""What ``dbkit top`` knows and how it is looked at: frozen facts and pure steps from one picture to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dbkit.live import PoolView, Times

HISTORY: Final = 60
"""Samples that a sparkline remembers."""

INTERVALS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between two samples, as ``+`` and ``-`` go through them."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A client's session at the server. Of other roles' sessions an ordinary role sees little.

    Attributes:
        state: ``active``, ``idle``, ``idle in transaction``, ...; ``?`` where it may not be seen.
        transaction: seconds since its transaction began; None outside of one.
        state_for: seconds in this state; None where it may not be seen.
        waits_for: the event it waits for at the server, ``Lock: transactionid``; empty if none.
        blocked_by: the sessions that hold what it waits for.
    """

    pid: int
    user: str
    application: str
    database: str
    client: str
    state: str
    transaction: float | None
    state_for: float | None
    waits_for: str
    query: str
    blocked_by: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The server at one moment.

    Attributes:
        room: connections that ordinary roles may have in all.
        transactions: ended so far, in all databases.
        at: when, in seconds of the server's clock.
    """

    version: str
    in_recovery: bool
    room: int
    transactions: int
    at: float
    sessions: Sequence[Session]


@dataclass(frozen=True)
class Trouble:
    """Why there is no sample."""

    reason: str


@dataclass(frozen=True)
class Sample:
    """What one look brought. None where nobody was asked."""

    server: Activity | Trouble | None
    pool: PoolView | Trouble | None
    at: float
    """On the monotonic clock."""


class Sort(Enum):
    """How sessions are sorted; the value is what the screen calls it."""

    TRANSACTION = "oldest transaction"
    STATE = "state, longest first"
    APPLICATION = "application"
    PID = "process"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What happened between the last two samples of the pool.

    Attributes:
        borrows: in a second.
        wait, use: mean seconds in line, and out; None where nobody waited, or nothing came back.
    """

    borrows: float
    wait: float | None
    use: float | None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Everything that the screen shows.

    Attributes:
        target: the server's label.
        server: as last seen; it stays when the server no longer answers, beside the reason.
        pool: likewise; None where no application is asked.
        per_second: transactions at the server; None until there are two samples.
        pace: of the pool, likewise.
        waits, uses: mean seconds, sample by sample, 0 for none.
        asks_app: an application is asked.
    """

    target: str
    interval: float = 2.0
    asks_app: bool = False
    server: Activity | None = None
    server_trouble: str | None = None
    pool: PoolView | None = None
    pool_trouble: str | None = None
    per_second: float | None = None
    pace: Pace | None = None
    pool_at: float | None = None
    waits: Sequence[float] = ()
    uses: Sequence[float] = ()
    sort: Sort = Sort.TRANSACTION
    paused: bool = False
    help: bool = False


def with_sample(picture: Picture, sample: Sample) -> Picture:
    """The picture with what one look brought."""
    match sample.server:
        case Activity() as seen:
            before = picture.server
            rate = _rate(seen.transactions, seen.at, before.transactions, before.at) if before else None
            picture = replace(picture, server=seen, server_trouble=None, per_second=rate)
        case Trouble(reason):
            picture = replace(picture, server_trouble=reason, per_second=None)
    if isinstance(sample.pool, Trouble):
        return replace(picture, pool_trouble=sample.pool.reason, pace=None, pool_at=None)
    return picture if sample.pool is None else _with_pool(picture, sample.pool, sample.at)


def _with_pool(picture: Picture, seen: PoolView, at: float) -> Picture:
    before, since = picture.pool, picture.pool_at
    picture = replace(picture, pool=seen, pool_trouble=None, pool_at=at)
    if before is None or since is None or before.pid != seen.pid or before.borrows > seen.borrows or at <= since:
        return replace(picture, pace=None)  # the first one, or another process, or one that began again
    pace = Pace(
        borrows=(seen.borrows - before.borrows) / (at - since),
        wait=_mean(seen.wait, before.wait),
        use=_mean(seen.use, before.use),
    )
    return replace(
        picture,
        pace=pace,
        waits=(*picture.waits, pace.wait or 0.0)[-HISTORY:],
        uses=(*picture.uses, pace.use or 0.0)[-HISTORY:],
    )


def _rate(now: float, at: float, before: float, since: float) -> float | None:
    return (now - before) / (at - since) if at > since and now >= before else None


def _mean(now: Times, before: Times) -> float | None:
    count = now.count - before.count
    return max(0.0, now.total - before.total) / count if count > 0 else None


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """What a key does: the picture after it, and what the loop is to do.

    Attributes:
        leave: end.
        look: take a sample now.
    """

    picture: Picture
    leave: bool = False
    look: bool = False


_SORTS: Final[Mapping[str, Sort]] = {
    "t": Sort.TRANSACTION, "e": Sort.STATE, "a": Sort.APPLICATION, "i": Sort.PID,
}  # fmt: skip

KEYS: Final[Mapping[str, str]] = {
    "q": "leave; so do Esc and Ctrl-C",
    "p": "pause, and go on",
    "space": "look now",
    "s": "sort by the next one",
    "t e a i": "sort by transaction, state, application, process",
    "+ -": "look more often, less often",
    "?": "this help, and back",
}
"""Every key, for the help."""


def press(picture: Picture, key: str) -> Pressed:
    """What a key does. Keys that mean nothing do nothing."""
    match key:
        case "q" | "Q" | "\x1b" | "\x03":
            return Pressed(picture=picture, leave=True)
        case "?" | "h":
            return Pressed(picture=replace(picture, help=not picture.help))
        case "p":
            return Pressed(picture=replace(picture, paused=not picture.paused), look=picture.paused)
        case " ":
            return Pressed(picture=picture, look=True)
        case "s":
            order = list(Sort)
            following = order[(order.index(picture.sort) + 1) % len(order)]
            return Pressed(picture=replace(picture, sort=following))
        case "+" | "=":
            return Pressed(picture=replace(picture, interval=_step(picture.interval, -1)), look=True)
        case "-":
            return Pressed(picture=replace(picture, interval=_step(picture.interval, 1)))
        case _ if key in _SORTS:
            return Pressed(picture=replace(picture, sort=_SORTS[key]))
    return Pressed(picture=picture)


def _step(interval: float, by: int) -> float:
    nearest = min(range(len(INTERVALS)), key=lambda at: abs(INTERVALS[at] - interval))
    return INTERVALS[min(max(0, nearest + by), len(INTERVALS) - 1)]


# ---- who blocks whom


@dataclass(frozen=True)
class Blocked:
    """A session that waits for another's lock, and how deep below the one that holds up all."""

    session: Session
    depth: int
    behind: Sequence[Blocked] = field(default=())


def chains(sessions: Sequence[Session]) -> tuple[Blocked, ...]:
    """Who blocks whom, as trees: at each root a session that holds locks and waits for none.

    A session that waits for several stands below the first of them. A circle (a deadlock that the server is about to
    break) is cut where it is entered.
    """
    known = {session.pid: session for session in sessions}
    waiting: dict[int, list[Session]] = {}
    for session in sessions:
        first = next((pid for pid in session.blocked_by if pid in known), None)
        if first is not None:
            waiting.setdefault(first, []).append(session)
    reached: set[int] = set()

    def tree(session: Session, depth: int) -> Blocked:
        reached.add(session.pid)
        behind = [tree(each, depth + 1) for each in waiting.get(session.pid, ()) if each.pid not in reached]
        return Blocked(session, depth, tuple(behind))

    blocked = {each.pid for group in waiting.values() for each in group}
    roots = [tree(known[pid], 0) for pid in waiting if pid not in blocked]
    circles = [tree(known[pid], 0) for pid in waiting if pid not in reached]
    return (*roots, *circles)
