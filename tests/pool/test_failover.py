"""A real failover: a primary and its hot standby change places under a pool with ``require_writer``."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import create_engine, exc, text

from dbkit.embedded import EmbeddedPostgres
from dbkit.pool.elastic import ElasticPool

from ..standby import Node, free_port, own_by, standby_of
from .helpers import QUIET, eventually
from .runtimes import Task

NUMBERS = QUIET | {"min_size": 3, "max_size": 3, "pool_timeout": 60}
WRITE = text("INSERT INTO written VALUES (1)")


@pytest.fixture
def folder(memory_folder: str | None) -> Iterator[Path]:
    """Return a folder that the server's account may enter."""
    found = Path(tempfile.mkdtemp(dir=memory_folder))
    found.chmod(0o711)
    yield found
    shutil.rmtree(found)


def test_a_failover_to_a_hot_standby(folder: Path):
    settings = {"wal_level": "replica", "max_wal_senders": 4, "hot_standby": True}
    with EmbeddedPostgres.start(folder / "a", durable=False, settings=settings) as first:
        first.execute("CREATE TABLE written (n int)")
        with standby_of(first, folder / "b", free_port()) as second:
            eventually(lambda: second.execute("SELECT count(*) FROM pg_class WHERE relname = 'written'") == [(1,)])
            address = urlsplit(first.url())
            engine = create_engine(
                "postgresql+psycopg2://",  # both servers, the first one first: it is up again before all is over
                connect_args={
                    "host": "127.0.0.1,127.0.0.1",
                    "port": f"{first.port},{urlsplit(second.url).port}",
                    "user": first.user,
                    "password": first.password,
                    "dbname": address.path[1:],
                    "target_session_attrs": "read-write",
                    "application_name": "failing-over",
                },
                poolclass=ElasticPool,
                require_writer=True,
                **NUMBERS,
            )
            engine.pool.warm_up()
            enough = threading.Event()
            ports: list[int] = []
            failures: list[BaseException] = []

            def work() -> None:
                while not enough.is_set():
                    try:
                        with engine.begin() as connection:
                            connection.execute(WRITE)
                            port = connection.connection.driver_connection.info.port
                        ports.append(port)
                    except exc.DBAPIError as error:  # cut off in the midst of it
                        failures.append(error)

            workers = [Task(work) for _ in range(8)]
            eventually(lambda: len(ports) > 20)
            assert set(ports) == {first.port}
            first.stop()  # the connections that are out die, and the line waits
            (first.folder / "data" / "standby.signal").touch()
            own_by(first.folder / "data" / "standby.signal", (first.folder / "data").stat().st_uid)
            demoted = Node(first, first.folder / "data", first.port)  # it answers, and lets nobody write
            try:
                assert demoted.execute("SHOW transaction_read_only") == [("on",)]
                second.execute("SELECT pg_promote()")
                before = len(ports)
                eventually(lambda: len(ports) > before + 50, 30)
                seen_so_far = len(failures)
                later = len(ports)
                eventually(lambda: len(ports) > later + 200)
                enough.set()
                for worker in workers:
                    worker.outcome()
                assert len(failures) == seen_so_far <= 8 + 3  # each worker once, and who met a dead one at most
                assert set(ports[before:]) == {urlsplit(second.url).port}
                assert demoted.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'failing-over'"
                ) == [(0,)]
                engine.dispose()
            finally:
                enough.set()
                demoted.stop()
