"""A real PgBouncer, which tests may restart and drain."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import URL, make_url

from .pool.helpers import eventually
from .standby import free_port


def find_pgbouncer() -> str | None:
    """The program's path, if there is one."""
    return shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


class Bouncer:
    """PgBouncer before one server, in a process of its own.

    Args:
        program: its path.
        folder: an empty one; it is given to the account that PgBouncer runs as.
        server: the server's URL; PgBouncer logs in as that user, unless ``settings`` say otherwise.
        login: whether it logs in to the server as that user, for whoever comes.
        settings: of ``pgbouncer.ini``, over those of the tests.
    """

    def __init__(
        self, program: str, folder: Path, server: URL, *, login: bool = True, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.port = free_port()
        self._command = [program, "-q", str(folder / "pgbouncer.ini")]
        self._process: subprocess.Popen[bytes] | None = None
        as_user = f" user={server.username}" + (f" password={server.password}" if server.password else "")
        chosen = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": 2,
            "unix_socket_dir": "",
            "ignore_startup_parameters": "extra_float_digits,options",
            "server_round_robin": 1,
            "server_login_retry": 1,
            "admin_users": "pgbouncer",
            **(settings or {}),
        }
        lines = [f"{name} = {value}" for name, value in chosen.items()]
        target = f"* = host={server.host} port={server.port}{as_user if login else ''}"
        (folder / "pgbouncer.ini").write_text("\n".join(["[databases]", target, "[pgbouncer]", *lines, ""]))
        if os.geteuid() == 0:  # it refuses to run as root
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "nobody")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        account = {"user": "nobody"} if os.geteuid() == 0 else {}
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account)
        eventually(self._listens)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "pgbouncer has ended"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it at once: its clients are cut off."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def console(self, command: str) -> list[tuple[Any, ...]]:
        """Give a command on its console; returns what it shows."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="pgbouncer", dbname="pgbouncer")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(command)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@contextmanager
def bouncer(program: str, server: URL, **options: Any) -> Iterator[Bouncer]:
    """One in a folder of its own, for the block. Options as ``Bouncer`` has them."""
    with tempfile.TemporaryDirectory() as folder:
        made = Bouncer(program, Path(folder), server, **options)
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def through_pgbouncer(database: str, *, mode: str = "transaction") -> Iterator[str]:
    """The URL of a database through PgBouncer, for the block; skips the test where there is none."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip("there is no pgbouncer")
    url = make_url(database)
    with bouncer(program, url, settings={"pool_mode": mode}) as made:
        yield url.set(host="127.0.0.1", port=made.port, password=None).render_as_string(hide_password=False)
