"""The tests here start many servers: their temporary clusters live in memory where there is room for them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _temporary_clusters_in_memory(memory_folder: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point ``tempfile`` (here and in the programs started) to memory. ``tmp_path`` stays on the disk."""
    if memory_folder:
        monkeypatch.setenv("TMPDIR", memory_folder)
        monkeypatch.setattr("tempfile.tempdir", memory_folder)
