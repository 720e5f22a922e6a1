"""Log lines for programs: fixed fields, the pool named, a failure said once."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from dbkit.core.log_fields import EVENTS, FIELDS, fields

from ..pool.helpers import QUIET, Connects, engine_on, eventually, refused

ROOT = Path(__file__).resolve().parents[2]


def lines(caplog: pytest.LogCaptureFixture, least: int = logging.INFO) -> list[logging.LogRecord]:
    """Those of dbkit's own; those of ``echo_pool`` are SQLAlchemy's."""
    return [record for record in caplog.records if record.name == "dbkit.pool" and record.levelno >= least]


def test_a_healthy_path_says_nothing(shared_database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dbkit")
    with engine_on(shared_database, **QUIET) as engine:
        for _ in range(100):
            engine.connect().close()
    assert lines(caplog) == []


def test_a_failed_connect_is_said_by_its_error_alone(shared_database: str, caplog: pytest.LogCaptureFixture) -> None:
    connects = Connects(shared_database)
    connects.error = refused
    with engine_on(shared_database, creator=connects, **QUIET) as engine:
        with pytest.raises(OperationalError):
            engine.connect()
        assert lines(caplog, logging.WARNING) == []


def test_an_outage_is_said_once_and_so_is_its_end(shared_database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dbkit")
    connects = Connects(shared_database)
    with engine_on(shared_database, creator=connects, **QUIET, pool_logging_name="orders") as engine:
        engine.connect().close()
        engine.pool.dispose()
        connects.error = refused

        def recover() -> None:
            eventually(lambda: connects.begun >= 4)
            connects.error = None

        import threading

        recovery = threading.Thread(target=recover)
        recovery.start()
        engine.connect().close()
        recovery.join()
        eventually(lambda: len(lines(caplog)) == 2)
        began, ended = (vars(record) for record in lines(caplog))
        assert (began["dbkit_event"], ended["dbkit_event"]) == ("open_failed", "opened_again")
        assert began["dbkit_pool"] == ended["dbkit_pool"] == "orders"
        assert ended["dbkit_failures"] >= 3


def test_fields_of_a_leak(shared_database: str, caplog: pytest.LogCaptureFixture) -> None:
    with engine_on(shared_database, **QUIET, leak_after=0.01, pool_logging_name="orders") as engine:
        out = engine.connect()
        [record] = eventually(lambda: lines(caplog, logging.WARNING))
        out.close()
        said = {name: value for name, value in vars(record).items() if name.startswith("dbkit_")}
        assert said.keys() == {"dbkit_event", "dbkit_pool", "dbkit_seconds", "dbkit_thread"}
        assert (said["dbkit_event"], said["dbkit_pool"]) == ("leaked", "orders")


def test_the_names_are_those_of_the_tables() -> None:
    made = fields("leaked", None, seconds=1, failures=1, connections=1, thread="t")
    assert made.keys() == {f"dbkit_{name}" for name in FIELDS}
    code = "".join(path.read_text() for path in (ROOT / "dbkit").rglob("*.py"))
    assert set(re.findall(r'fields\("(\w+)"', code)) == EVENTS.keys()
    text = (ROOT / "docs" / "metrics.md").read_text()
    for table, prefix in ((FIELDS, "dbkit_"), (EVENTS, "")):
        for name, meaning in table.items():
            assert f"| `{prefix}{name}` | {meaning} |" in text
