from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbkit import DatabaseConnectionManager

ROOT = Path(__file__).resolve().parents[2]
INI = ROOT / "alembic.ini"


@pytest.fixture
def db(database: str) -> Iterator[DatabaseConnectionManager]:
    """A manager with a pool of one on a database of its own."""
    with DatabaseConnectionManager(database, min_size=0, max_size=1, timeout=10) as manager:
        yield manager
        stats = manager.stats()
        assert (stats.in_use, stats.opening) == (0, 0)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder of migrations whose one revision makes the table ``made``."""
    folder = tmp_path / "100% scripts"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(
        textwrap.dedent("""\
        from alembic import context
        from dbkit import DatabaseConnectionManager
        from dbkit.migrate import run_migrations
        run_migrations(context, None, otherwise=DatabaseConnectionManager)
        """)
    )
    write_revision(folder, "one", None, "op.execute('CREATE TABLE made (x int)')", "op.drop_table('made')")
    return folder


def write_revision(folder: Path, revision: str, down: str | None, up_code: str, down_code: str = "pass") -> None:
    lines = (
        "from alembic import op",
        f"revision, down_revision, branch_labels, depends_on = {revision!r}, {down!r}, None, None",
        "def upgrade():",
        textwrap.indent(up_code, "    "),
        "def downgrade():",
        textwrap.indent(down_code, "    "),
    )
    (folder / "versions" / f"{revision}.py").write_text("\n".join(lines))
