"""A value that does not show itself."""

from __future__ import annotations

from typing import Any, NoReturn

MASK = "***"


class Secret:
    """Text that may be used but not seen: ``str()``, ``repr()`` and formatting give ``***``.

    It has no ``__dict__`` to dump and cannot be pickled, so it reaches neither a log, an error tracker nor a cache
    by accident; ``reveal()`` is the only way to the text, easy to find in a review. Python keeps the text in memory
    as long as the object lives: this guards against showing, not against somebody who reads the process's memory.

    Immutable, comparable and hashable; safe to share between threads.
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

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

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret does not change")

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; load the settings anew where they are needed")
