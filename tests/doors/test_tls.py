"""``sslmode=verify-full`` and ``sslrootcert`` as plain settings: whoever cannot prove who it is gets nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, make_url

from dbkit import DatabaseConnectionManager

from ..credentials.cloud import make_certificates
from ..shown import everything_shown
from .front import Front


@pytest.fixture
def reach(server: Any, shared_database: str, tmp_path: Path) -> Iterator[Callable[..., DatabaseConnectionManager]]:
    """Makes a manager that connects through a front with such a certificate."""
    made: list[Any] = []
    behind = make_url(shared_database)

    def through(driver: str, *, name: str = "localhost", hours: int = 1, ca: str = "ca", tls: bool = True) -> Any:
        folder, stranger = tmp_path / "own", tmp_path / "stranger"
        for each in (folder, stranger):
            each.mkdir(exist_ok=True)
        good, certificate = make_certificates(folder, name, datetime.timedelta(hours=hours))
        other, _ = make_certificates(stranger, name)
        front = Front(str(behind.host), int(behind.port or 0), certificate if tls else None)
        db = DatabaseConnectionManager(
            behind.set(drivername=f"postgresql+{driver}", host="localhost", port=front.port).update_query_dict(
                {"sslmode": "verify-full", "sslrootcert": str(good if ca == "ca" else other), "gssencmode": "disable"}
            ),
            min_size=0,
            timeout=30,
        )
        made.extend((db, front))
        return db, front

    yield through
    for each in made:
        (each.close_connections if isinstance(each, DatabaseConnectionManager) else each.close)()


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_server_that_proves_who_it_is_is_talked_to_over_tls(reach: Any, driver: str) -> None:
    db, front = reach(driver)
    assert db.execute_query("SELECT 1").scalar() == 1
    assert front.encrypted == 1


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "elsewhere.example"}, "does not match host name"),
        ({"ca": "another"}, "unable to get local issuer certificate"),
        ({"hours": -1}, "certificate has expired"),
        ({"tls": False}, "server does not support SSL"),
    ],
    ids=["name", "authority", "expired", "no tls"],
)
def test_each_fault_is_refused_and_named(reach: Any, driver: str, wrong: dict[str, Any], said: str) -> None:
    db, _ = reach(driver, **wrong)
    with pytest.raises(exc.OperationalError, match=said) as caught:
        db.execute_query("SELECT 1")
    assert db.stats().opens == 0
    shown = everything_shown(caught.value)
    assert db.settings.password.reveal() not in shown
