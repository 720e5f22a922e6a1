"""A comment behind a statement that says where it comes from, as sqlcommenter writes it. Pure.

``/*controller='films',route='%2Ffilms%2F%3Aid',traceparent='00-...-01'*/``: keys sorted, keys and values URL-encoded,
so that nothing in them can end the comment, the quotes or the statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

Tags = Mapping[str, object] | None
"""Names and values, such as ``controller``, ``route``, ``traceparent``. A value that is None is left out."""


def comment(tags: Tags) -> str:
    """The comment for these tags, without a space before it; empty where there are none.

    Args:
        tags: names and values; values are written as ``str`` gives them.

    Raises:
        TypeError: no mapping, or a name that is no text.
    """
    if tags is None:
        return ""
    if not isinstance(tags, Mapping) or not all(isinstance(key, str) for key in tags):
        raise TypeError(f"tags must be a mapping of names to values, not {type(tags).__name__}")
    pairs = [
        f"{quote(key, safe='')}='{quote(str(value), safe='')}'"
        for key, value in sorted(tags.items())
        if value is not None
    ]
    return f"/*{','.join(pairs)}*/" if pairs else ""


def tagged(sql: str, made: str, *, formatted: bool) -> str:
    """The statement with its comment.

    Args:
        sql: the statement as the driver takes it.
        made: what ``comment`` returned.
        formatted: the driver binds values into the text, so that a percent sign is doubled.
    """
    if not made:
        return sql
    if formatted:
        made = made.replace("%", "%%")
    body = sql.rstrip()
    if "--" in body.rpartition("\n")[2]:
        return f"{body}\n{made}"  # a comment of its own may stand at the end, up to the end of the line
    if body.endswith(";"):
        return f"{body[:-1].rstrip()} {made};"
    return f"{body} {made}"
