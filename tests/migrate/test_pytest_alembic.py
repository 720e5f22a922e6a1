"""pytest-alembic's own checks, of the shop's migrations through dbkit's ``env.py``.

Its plugin is switched off (``-p no:pytest_alembic``): it collects tests into every folder, and does not work with every
pytest. Its fixtures and its tests are all that is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.config import Config
from sqlalchemy import Engine, create_engine

from .conftest import INI

pytest.importorskip("pytest_alembic")

from pytest_alembic.plugin.fixtures import alembic_runner  # noqa: F401 - a fixture
from pytest_alembic.tests import (  # noqa: F401 - tests
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)


@pytest.fixture
def alembic_config() -> Config:
    return Config(INI)


@pytest.fixture
def alembic_engine(database: str) -> Iterator[Engine]:
    engine = create_engine(database)
    yield engine
    engine.dispose()
