"""Fixtures for the tests of credentials."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..pool.helpers import Admin
from .broker import Broker


@pytest.fixture
def broker(admin: Admin, shared_database: str) -> Iterator[Broker]:
    """Return a broker that gives out tokens for a role of its own."""
    made = Broker(admin, shared_database)
    yield made
    admin.rows(f"DROP ROLE {made.role}")
