"""PostgreSQL's own translations, where they are installed: what a server says in each of its languages."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest


def catalogs() -> list[Path]:
    """Return the files of the catalogs."""
    return sorted(Path("/usr/share/locale").glob("*/LC_MESSAGES/postgres-*.mo"))


def in_each_language(test: Any) -> Any:
    """Have a test run once for each catalog, whose file is its argument ``path``."""
    found = catalogs()
    test = pytest.mark.parametrize("path", found, ids=lambda path: f"{path.parts[-3]}-{path.stem}")(test)
    return pytest.mark.skipif(not found, reason="PostgreSQL's translations are not installed on this machine")(test)


def spoken(path: Path, messages: Iterable[str]) -> Iterator[str]:
    """Yield how a server that ends a login with these messages says so, as libpq passes it on."""
    with path.open("rb") as file:
        catalog = gettext.GNUTranslations(file)
    for message in messages:
        yield f"{catalog.gettext('FATAL')}:  " + re.sub("%[0-9$]*s", "x", catalog.gettext(message)) + "\n"
