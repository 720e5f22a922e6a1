"""Settings are loaded from what a test says, never from the machine it runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dbkit.errors import Fault, SettingsError
from dbkit.settings import DatabaseSettings

Load = Callable[..., DatabaseSettings]
Refused = Callable[..., tuple[Fault, ...]]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, so that no ``.env`` of the developer's is found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load() -> Load:
    """``DatabaseSettings.load`` with an empty environment unless one is given."""

    def load(
        source: object = None, /, *, environ: Mapping[str, str] | None = None, **given: object
    ) -> DatabaseSettings:
        return DatabaseSettings.load(source, environ=environ or {}, **given)  # type: ignore[arg-type]

    return load


@pytest.fixture
def refused(load: Load) -> Refused:
    """The faults that loading reports; fails where it reports none."""

    def refused(*source: object, **given: object) -> tuple[Fault, ...]:
        with pytest.raises(SettingsError) as caught:
            load(*source, **given)
        return caught.value.faults

    return refused
