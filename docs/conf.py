"""How Sphinx builds these pages: ``make docs``. Nothing is fetched from elsewhere, and a warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "dbkit"
author = "the dbkit authors"
copyright = "the dbkit authors. Apache-2.0"
release = version = version_of("dbkit-postgres")

extensions = ["myst_parser", "settings_table", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_extensions"]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a dataclass documents its fields in one place, under "Attributes"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"dbkit {release}"
html_copy_source = False
html_show_sourcelink = False
pygments_style = "default"
pygments_dark_style = "monokai"
