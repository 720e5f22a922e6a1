"""The pages are built without a warning, and the reference leaves out nothing that is public."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from dbkit import DatabaseConnectionManager

from ..once import made_once
from .blocks import ROOT

pytest.importorskip("sphinx", reason="Sphinx is in the dependency group 'docs'")
pytest.importorskip("furo", reason="furo is in the dependency group 'docs'")
pytest.importorskip("myst_parser", reason="MyST is in the dependency group 'docs'")

PUBLIC = {
    "dbkit": "dbkit.md",
    "dbkit.credentials": "credentials.md",
    "dbkit.dropin": "dropin.md",
    "dbkit.embedded": "testing.md",
    "dbkit.integrations.fastapi": "fastapi.md",
    "dbkit.live": "live.md",
    "dbkit.migrate": "migrate.md",
    "dbkit.models": "models.md",
    "dbkit.testing": "testing.md",
    "dbkit_pytest": "testing.md",
}
"""Every public package, and its page of the reference."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the pages, as ``make docs`` builds them."""

    def build(folder: Path) -> None:
        options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(folder / "doctrees")]
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(folder / "html")],
            capture_output=True,
            text=True,
            timeout=280,  # it takes ten seconds on a machine that does nothing else
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "docs", build) / "html"


def test_every_page_is_built_without_a_warning(built: Path):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (built / page.relative_to(ROOT / "docs")).with_suffix(".html").exists(), page


@pytest.mark.parametrize(("module", "page"), PUBLIC.items())
def test_every_public_name_is_in_the_reference(built: Path, module: str, page: str):
    html = "".join(path.read_text(encoding="utf-8") for path in (built / "reference").glob("*.html"))
    for name in importlib.import_module(module).__all__:
        homes = [*PUBLIC, "dbkit.naming"]  # a name that two packages give is told once
        assert any(f'id="{home}.{name}"' in html for home in homes), f"{module}.{name} is missing in reference/{page}"


def test_each_method_of_the_manager_has_a_docstring(built: Path):
    """autodoc leaves out a method that has none."""
    html = (built / "reference" / "dbkit.html").read_text(encoding="utf-8")
    for name in (name for name in dir(DatabaseConnectionManager) if not name.startswith("_")):
        assert f'id="dbkit.DatabaseConnectionManager.{name}"' in html, name


def test_every_setting_is_in_a_table(built: Path):
    from dbkit.settings.keys import SPELLINGS, VARIABLES

    html = (built / "reference" / "settings.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'<span class="pre">([\w]+)</span>', html))
    assert set(SPELLINGS) | set(VARIABLES) <= shown


@pytest.mark.parametrize("drawing", ["checkout", "ledger", "line"])
def test_a_drawing_says_what_it_shows_and_knows_the_dark(drawing: str):
    root = ET.parse(ROOT / "docs" / "img" / f"{drawing}.svg").getroot()
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert root.findtext("svg:title", namespaces=space)
    assert len(root.findtext("svg:desc", "", space)) > 50
    assert "prefers-color-scheme: dark" in (root.findtext("svg:style", "", space))
    assert not [one for one in root.iter() if one.tag.endswith(("script", "image"))]
