"""Fixtures for the tests of the pool's driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .helpers import Admin


@pytest.fixture
def admin(shared_database: str) -> Iterator[Admin]:
    """Return a superuser's own connection, beside all pools."""
    found = Admin(shared_database)
    yield found
    found.close()
