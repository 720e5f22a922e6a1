"""A value that does not show itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Self

MASK = "***"


class Unpicklable:
    """Base of frozen values that hold secrets: a copy of one is itself, and it cannot leave the process as a pickle."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        reason = "is not pickled, for its secrets; load the settings again where they are needed"
        raise TypeError(f"{type(self).__name__} {reason}")


@dataclass(frozen=True, slots=True, repr=False)
class Secret(Unpicklable):
    """Text that may be used but not seen: ``str()``, ``repr()`` and formatting give ``***``.

    It has no ``__dict__`` to dump and cannot be pickled, so it reaches neither a log, an error tracker nor a cache
    by accident; ``reveal()`` is the only way to the text, easy to find in a review. Python keeps the text in memory
    as long as the object lives: this guards against showing it, not against reading the process's memory.

    Immutable, comparable and hashable; safe to share between threads.
    """

    _text: str

    def reveal(self) -> str:
        """The text itself. Keep it in no variable that lives longer than the call it is for."""
        return self._text

    def flaw(self) -> str | None:
        """Why libpq could not take this text, as a clause that does not show it; None where it can."""
        if "\0" in self._text:
            return "holds a NUL character"
        if any("\ud800" <= character <= "\udfff" for character in self._text):
            return "is not valid UTF-8"
        return None

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)
