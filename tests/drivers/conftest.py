from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url

from dbkit.pool.elastic import ElasticPool

from ..pool.helpers import QUIET


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver_name(request: pytest.FixtureRequest) -> str:
    """Each driver that has an adapter of its own."""
    name: str = request.param
    return name


@pytest.fixture
def engines() -> Iterator[Callable[..., Engine]]:
    """Makes engines of one connection on an ``ElasticPool``, on which nothing happens unasked."""
    made: list[Engine] = []

    def make(url: str, driver: str, **arguments: Any) -> Engine:
        given: dict[str, Any] = {"poolclass": ElasticPool, **QUIET, "max_size": 1, **arguments}
        made.append(create_engine(make_url(url).set(drivername=driver), **given))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()
