"""The package as it would be published: it builds, its page can be rendered, and what it needs is in it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from ..once import made_once
from .blocks import ROOT

for needed in ("build", "hatchling", "twine", "comrak"):
    pytest.importorskip(needed, reason=f"{needed} is in the dependency group 'package'")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "dist", build)


@pytest.fixture(scope="module")
def metadata(dist: Path) -> Message:
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_the_package_index_takes_both(dist: Path):
    from twine.commands.check import check

    assert not check([str(path) for path in sorted(dist.iterdir())], strict=True)


def test_the_page_is_rendered_whole(metadata: Message):
    from readme_renderer.markdown import render

    page = render(metadata.get_payload())
    assert page is not None
    for text in (">dbkit<", "<table>", "execute_query", "What it refuses to do"):
        assert text in page
    assert "<script" not in page
    assert "benchmark: made by" not in page


def test_the_wheel_has_what_is_no_python(dist: Path):
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in ("dbkit/py.typed", "dbkit/integrations/fastapi/pool_page.html", "dbkit/migrate/template/env.py",
                 "dbkit/migrate/template/alembic.ini.mako", "dbkit_pytest/__init__.py"):  # fmt: skip
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_the_sdist_has_the_pages_and_the_tests(dist: Path):
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"docs/tutorial.md", "docs/conf.py", "docs/img/checkout.svg", "tests/conftest.py", "Makefile"} <= names


def test_the_metadata_names_version_licence_and_pythons(metadata: Message):
    assert metadata["Name"] == "dbkit-postgres"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"Programming Language :: Python :: 3.11", "Typing :: Typed"} <= set(metadata.get_all("Classifier", []))
