"""Text of others, safe on a terminal: application names and queries may hold escape sequences."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text on one line, everything that a terminal would obey replaced by ``?``."""
    return "".join(c if c.isprintable() else " " if c in "\n\t\r" else "?" for c in text)


def seconds_text(seconds: float) -> str:
    """A duration in few letters: ``85 us``, ``12 ms``, ``3.4 s``, ``12 min``, ``5 h``, ``3 d``."""
    if seconds < 0.001:
        return f"{max(0.0, seconds) * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    for unit, size, below in (("min", 60, 3600), ("h", 3600, 86400 * 2)):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
