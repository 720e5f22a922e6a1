"""Template strings of Python 3.14, ``t"SELECT ... WHERE id = {user_id}"``: their values are bound, never formatted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc

try:
    from string.templatelib import Template  # type: ignore[import-not-found]
except ImportError:  # before Python 3.14
    Template = None


def is_template(query: object) -> bool:
    """Whether this is a template string.

    Args:
        query: anything.
    """
    return Template is not None and isinstance(query, Template)


def bound(template: Any) -> tuple[str, tuple[Any, ...]]:
    """The text with a ``%s`` for each value, and the values. A template within a template becomes part of the text.

    Args:
        template: a template string.

    Returns:
        The text, percent signs doubled, and the values; the text as it is, and none, where there are no values.

    Raises:
        sqlalchemy.exc.ArgumentError: a value with a conversion or a format, which cannot be bound as it is.
    """
    values: list[Any] = []
    text = _text(template, values)
    return (text, tuple(values)) if values else (text.replace("%%", "%"), ())


def _text(template: Any, values: list[Any]) -> str:
    parts = [template.strings[0].replace("%", "%%")]
    for value, after in zip(template.interpolations, template.strings[1:], strict=True):
        if value.conversion or value.format_spec:
            written = (f"!{value.conversion}" if value.conversion else "") + (
                f":{value.format_spec}" if value.format_spec else ""
            )
            raise exc.ArgumentError(
                f"{{{value.expression}{written}}}: a value in a template string is bound as it is, never formatted; "
                f"write {{{value.expression}}}, or convert the value before"
            )
        if is_template(value.value):
            parts.append(_text(value.value, values))
        else:
            values.append(value.value)
            parts.append("%s")
        parts.append(after.replace("%", "%%"))
    return "".join(parts)
