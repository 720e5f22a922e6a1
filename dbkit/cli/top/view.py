"""A picture as lines for a screen of some size. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from dbkit.cli.plain import plain
from dbkit.cli.top.sections import sections
from dbkit.cli.top.state import KEYS

if TYPE_CHECKING:
    from dbkit.cli.top.sections import Section
    from dbkit.cli.top.state import Picture

_FOOTER: Final = " q quit   p pause   s sort   + - pace   space now   ? help "


def screen(picture: Picture, width: int, height: int | None, *, clock: str) -> Group:
    """The whole screen, exactly ``height`` lines; as many as there are where it is None.

    Args:
        picture: what is known.
        width: columns.
        height: lines, or None for a file or a pipe: everything, without the keys.
        clock: the time to show.
    """
    lines = [_title(picture, width, clock, live=height is not None)]
    if picture.help:
        lines += [Text(), *(Text(f"  {key:<10} {meaning}") for key, meaning in KEYS.items())]
    else:
        room = None if height is None else max(0, height - 2)
        lines += fitted(list(sections(picture)), room)
    if height is not None:
        lines = lines[: max(1, height - 1)]
        lines += [Text()] * (height - 1 - len(lines))
        lines.append(Text(_FOOTER[:width].ljust(width), style="reverse"))
    for line in lines:
        line.no_wrap = True
        if height is not None:
            line.truncate(width, overflow="ellipsis")
    return Group(*lines[:height])


def _title(picture: Picture, width: int, clock: str, *, live: bool) -> Text:
    title = Text(f"dbkit top  {plain(picture.target)}", style="bold")
    if picture.server is not None:
        title.append(f"  PostgreSQL {plain(picture.server.version)}{' standby' if picture.server.in_recovery else ''}")
    pace = "paused" if picture.paused else f"every {picture.interval:g} s"
    right = f"{pace}  {clock}" if live else clock
    title.truncate(max(0, width - len(right) - 1), overflow="ellipsis", pad=True)
    return title.append(f" {right}", style="bold yellow" if picture.paused else "")


def fitted(parts: Sequence[Section], room: int | None) -> list[Text]:
    """The rows of all parts, within the room: a part without a title whole, then one row each in turn.

    Args:
        parts: top to bottom.
        room: lines; None for no limit.
    """
    shares = [len(part.rows) if room is None or not part.title else 0 for part in parts]
    left = 0 if room is None else room - sum(share for share, part in zip(shares, parts, strict=True) if not part.title)
    shown = [part for part in parts if part.title]
    if room is not None:
        while shown and left < 2 * len(shown):  # a heading and a row each, or not at all
            shown.pop()
        left -= len(shown)
        while left > 0 and any(shares[at] < len(part.rows) for at, part in enumerate(parts) if part in shown):
            for at, part in enumerate(parts):
                if part in shown and left > 0 and shares[at] < len(part.rows):
                    shares[at] += 1
                    left -= 1
    lines: list[Text] = []
    for share, part in zip(shares, parts, strict=True):
        if part.title and share:
            more = f" ({share} of {part.total})" if share < part.total else ""
            lines.append(Text(f"{part.title}{more}", style="bold underline"))
        lines += [row.copy() for row in part.rows[:share]]
    return lines
