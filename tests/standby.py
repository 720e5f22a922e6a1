"""Hot standbys of an embedded server, for tests of failovers."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from dbkit.embedded import EmbeddedPostgres

from .pool.helpers import Admin, eventually


class Node:
    """A server on a copied cluster, which ends with the block, or with this process however that ends."""

    def __init__(self, original: EmbeddedPostgres, data: Path, port: int) -> None:
        postgres = original._instance.binaries.program("postgres")
        owner = (original.folder / "data").stat().st_uid
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._shell = subprocess.Popen(  # it reads until its other end closes
            ["/bin/sh", "-c", f"'{postgres}' -D . {options} >log 2>&1 & read _; kill -INT $!; wait $!"],
            cwd=data,
            stdin=subprocess.PIPE,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            user=owner if os.getuid() == 0 else None,
        )
        self.url = original.url().replace(f":{original.port}/", f":{port}/")
        eventually(self._answers, 30)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url).close()
        except psycopg2.OperationalError:
            return False
        return True

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        admin = Admin(self.url)
        try:
            return admin.rows(sql)
        finally:
            admin.close()

    def stop(self) -> None:
        self._shell.communicate(b"\n", timeout=240)


@contextmanager
def standby_of(original: EmbeddedPostgres, data: Path, port: int) -> Iterator[Node]:
    """A hot standby, copied from the running server."""
    program = original._instance.binaries.program("pg_basebackup")
    command = [program, "-d", original.url(), "-D", str(data), "-R", "-c", "fast", "--no-sync"]
    subprocess.run(command, check=True, timeout=240, capture_output=True)
    own_by(data, (original.folder / "data").stat().st_uid)
    node = Node(original, data, port)
    try:
        yield node
    finally:
        node.stop()


def own_by(place: Path, owner: int) -> None:
    """Give it all to the account that runs the original."""
    for path in (place, *place.rglob("*")) if os.getuid() == 0 else ():
        os.chown(path, owner, -1, follow_symlinks=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
