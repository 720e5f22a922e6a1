"""Text into a file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A file to write, in UTF-8, that takes its name at the end of the block; after an error nothing has changed.

    It is written beside its place and moved there, so a reader sees the old file or the new one. A path that is no
    regular file (a pipe, ``/dev/stdout``) is written to as it is. An existing file's permissions are kept, a
    link's target is replaced and not the link.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be written there.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    beside = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("x", encoding="utf-8", newline="") as file:
            yield file
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
