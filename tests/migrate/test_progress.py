"""One line per revision on a terminal; nothing elsewhere."""

from __future__ import annotations

import io
import logging

import pytest

from dbkit.migrate.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _alembic_is_quiet():
    logger = logging.getLogger("alembic.runtime.migration")
    before = logger.level
    logger.setLevel(logging.WARNING)
    yield
    logger.setLevel(before)


def told(stream: io.StringIO) -> str:
    progress = Progress(stream)
    progress.begin(1, 2, "upgrade  -> one")
    progress.end()
    progress.begin(2, 2, "upgrade one -> two")
    progress.note("a table is in use")
    progress.end("stopped")
    return stream.getvalue()


def test_a_person_sees_each_revision():
    assert told(Terminal()) == (
        "[1/2] upgrade  -> one ... 0.0 s\n[2/2] upgrade one -> two ... stopped\na table is in use\n"
    )


def test_nobody_watches():
    assert told(io.StringIO()) == ""
    closed = io.StringIO()
    closed.close()
    assert not Progress(closed)._watched


def test_alembics_own_lines_are_enough():
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    assert told(Terminal()) == ""
