"""The parts of the screen: each is a title and rows of text. Pure. ``view.py`` puts them on a screen of some size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.text import Text

from dbkit.cli.plain import plain, seconds_text
from dbkit.cli.top.state import Blocked, Sort, chains

if TYPE_CHECKING:
    from dbkit.cli.top.state import Activity, Picture, Session
    from dbkit.core.profile import CallSiteUse
    from dbkit.live import HolderView, PoolView

STYLES: Final = {"active": "green", "idle": "dim", "idle in transaction": "yellow"}
SPARKS: Final = "▁▂▃▄▅▆▇█"
_BAR: Final = 24


@dataclass(frozen=True)
class Section:
    """One part of the screen.

    Attributes:
        title: its heading; empty for a part without one, all of whose rows are shown.
        rows: the most important first, since the last ones may not fit.
        total: rows there are in all; for the heading.
    """

    title: str
    rows: Sequence[Text]
    total: int = 0


def sections(picture: Picture) -> Iterator[Section]:
    """All parts that have something to say, top to bottom."""
    if picture.asks_app:
        yield Section("", list(_pool_lines(picture)))
        if picture.pool is not None and picture.pool.holders:
            rows = [_holder(each) for each in picture.pool.holders]
            yield Section("holders of the pool's connections", rows, picture.pool.in_use)
        if picture.pool is not None and picture.pool.profile:
            uses = [_use(each) for each in picture.pool.profile]
            yield Section("profile: held, wait caused, p95, where", uses, len(uses))
    if picture.server_trouble is not None:
        yield Section("", [Text(f"server   {plain(picture.server_trouble)}", style="bold red")])
    if picture.server is not None:
        yield Section("", [_states(picture.server, picture.per_second)])
        blocked = [row for root in chains(picture.server.sessions) for row in _tree(root)]
        if blocked:
            yield Section("who blocks whom", blocked, len(blocked))
        shown = listed(picture.server.sessions, picture.sort)
        if shown:
            yield Section(f"sessions by {picture.sort.value}", [_session(each) for each in shown], len(shown))
        applications = list(_applications(picture.server.sessions))
        if applications:
            yield Section("applications", applications, len(applications))


# ---- the pool of an application


def _pool_lines(picture: Picture) -> Iterator[Text]:
    if picture.pool_trouble is not None:
        yield Text(f"pool     {plain(picture.pool_trouble)}", style="bold red")
    pool = picture.pool
    if pool is None:
        return
    line = Text("pool     ")
    line.append_text(bar(pool))
    line.append(f" {pool.in_use} in use, {pool.idle} idle, {pool.opening} opening, ")
    line.append(f"{pool.waiting} waiting", style="bold red" if pool.waiting else "")
    yield line
    pace = picture.pace
    wait = seconds_text(pace.wait) if pace is not None and pace.wait is not None else "-"
    use = seconds_text(pace.use) if pace is not None and pace.use is not None else "-"
    line = Text(f"wait     {wait:>7} ")
    line.append(sparkline(picture.waits, 22), style="red")
    line.append(f"  use {use:>7} ")
    line.append(sparkline(picture.uses, 22), style="cyan")
    yield line
    rate = f"{pace.borrows:.0f} borrows/s" if pace is not None else f"{pool.borrows} borrows"
    name = f"{plain(pool.name)} " if pool.name else ""
    failed = Text(f"         {name}pid {pool.pid}, {rate}, ")
    failed.append(f"{pool.timeouts} timeouts", style="bold red" if pool.timeouts else "")
    failed.append(f", {pool.refused} refused, {pool.open_failures} failed connects")
    yield failed


def bar(pool: PoolView, width: int = _BAR) -> Text:
    """In use, opening and idle beside the room that is left; then those in line, one mark each."""
    most = max(1, pool.in_use + pool.opening + pool.idle, min(pool.max_size, 10_000))
    scale = width / most
    cells, text = 0, Text()
    for count, sign, style in ((pool.in_use, "█", "green"), (pool.opening, "▒", "yellow"), (pool.idle, "░", "cyan")):
        take = min(width - cells, max(1, round(count * scale)) if count else 0)
        text.append(sign * take, style=style)
        cells += take
    text.append("·" * (width - cells), style="dim")
    if pool.waiting:
        text.append("+" + "!" * min(5, pool.waiting), style="bold red")
    return text


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values as small bars, each beside the largest of them; blanks where there are none yet."""
    shown = values[-width:]
    most = max(shown, default=0.0)
    bars = "".join(SPARKS[min(7, int(value / most * 7.999))] if most and value else SPARKS[0] for value in shown)
    return bars.rjust(width)


def _holder(holder: HolderView) -> Text:
    age = Text(f"{seconds_text(holder.seconds):>8}  ", style="bold red" if holder.ended else "")
    age.append(plain(holder.thread), style="bold")
    if holder.ended:
        age.append(" (ended, and kept it)", style="red")
    places = [*holder.borrowed_at[:1], *(f"now at {place}" for place in holder.where[:1])]
    return age.append(f"  {plain(', '.join(places))}", style="dim")


def _use(use: CallSiteUse) -> Text:
    text = Text(f"{use.share:>8.1%}  ")
    text.append(f"{seconds_text(use.wait_caused):>7}", style="red" if use.wait_caused else "dim")
    text.append(f"  {seconds_text(use.p95):>7}  ")
    text.append(plain(use.where), style="bold")
    return text.append(f"  {plain(use.endpoint)}" if use.endpoint else "", style="dim")


# ---- the server


def _states(server: Activity, per_second: float | None) -> Text:
    counts = Counter(session.state for session in server.sessions)
    total = len(server.sessions)
    line = Text("sessions ")
    full = server.room > 0 and total >= 0.9 * server.room
    line.append(f"{total} of {server.room}", style="bold red" if full else "bold")
    for state in ("active", "idle", "idle in transaction"):
        line.append(f"  {state} {counts.pop(state, 0)}", style=STYLES[state])
    if counts:
        line.append(f"  other {sum(counts.values())}", style="dim")
    return line if per_second is None else line.append(f"  {per_second:.0f} tx/s")


def listed(sessions: Sequence[Session], sort: Sort) -> list[Session]:
    """The sessions to show, in order: by transaction those in one, else all."""
    if sort is Sort.TRANSACTION:
        inside = [each for each in sessions if each.transaction is not None]
        return sorted(inside, key=lambda each: -(each.transaction or 0.0))
    if sort is Sort.STATE:
        return sorted(sessions, key=lambda each: (each.state, -(each.state_for or 0.0)))
    if sort is Sort.APPLICATION:
        return sorted(sessions, key=lambda each: (each.application, each.pid))
    return sorted(sessions, key=lambda each: each.pid)


def _session(session: Session) -> Text:
    age = session.transaction if session.transaction is not None else session.state_for
    text = Text(f"{'-' if age is None else seconds_text(age):>8} {session.pid:>7}  ")
    text.append(f"{plain(session.application or session.user)[:16]:<16} ", style="bold")
    text.append(f"{plain(session.state)[:20]:<20} ", style=STYLES.get(session.state, ""))
    if session.waits_for:
        text.append(f"{plain(session.waits_for)} ", style="yellow")
    return text.append(" ".join(plain(session.query).split()), style="dim")


def _applications(sessions: Sequence[Session]) -> Iterator[Text]:
    by_name: dict[str, list[Session]] = {}
    for session in sessions:
        by_name.setdefault(session.application or f"(none) {session.user}", []).append(session)
    for name, group in sorted(by_name.items(), key=lambda item: (-len(item[1]), item[0])):
        counts = Counter(session.state for session in group)
        oldest = max((session.transaction or 0.0 for session in group), default=0.0)
        text = Text(f"{len(group):>8}  ")
        text.append(f"{plain(name)[:20]:<20}", style="bold")
        for state, short in (("active", "active"), ("idle", "idle"), ("idle in transaction", "in tx")):
            text.append(f"  {counts[state]:>3} {short}", style=STYLES[state])
        yield text.append(f"  oldest {seconds_text(oldest)}" if oldest else "")


def _tree(root: Blocked) -> Iterator[Text]:
    session = root.session
    age = session.transaction if session.transaction is not None else session.state_for
    text = Text(f"{'-' if age is None else seconds_text(age):>8}  {'   ' * root.depth}")
    text.append("└─ " if root.depth else "", style="dim")
    text.append(
        f"{session.pid} {plain(session.application or session.user)} ", style="bold" if root.depth else "bold red"
    )
    text.append(f"{plain(session.state)} ", style=STYLES.get(session.state, ""))
    if root.depth:
        text.append(f"{plain(session.waits_for)} ", style="yellow")
    yield text.append(" ".join(plain(session.query).split()), style="dim")
    for each in root.behind:
        yield from _tree(each)
