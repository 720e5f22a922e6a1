"""Three PostgreSQL servers under Patroni, with etcd, as one may find them in production; each node a machine of its own
as far as its processes go: a process namespace, which ends as a whole when it is killed, and with this process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2

from dbkit.embedded.binaries import find_binaries
from dbkit.testing.places import memory_folder

from ..pool.helpers import eventually
from ..standby import free_port
from .entrants import NAME
from .forms import SYSTEM_FOLDERS

ACCOUNT: Final = "nobody"
MACHINE: Final = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", '"$@" & wait', "machine")
"""The shell is the first process there, and stays root: one that changes its account would outlive its parent."""
PASSWORD: Final = "cluster-password"
STRAIGHT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without a proxy of the machine's in between."""
STARTUP: Final = 120.0
"""Seconds until the cluster counts as one that does not come up."""


@dataclass
class Node:
    """One node: where it listens, and its process, while it runs."""

    name: str
    port: int
    rest: int
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            path = os.environ.get("PATH", os.defpath) + os.pathsep + SYSTEM_FOLDERS
            environment = {"PATH": path, "LC_ALL": "C", "HOME": str(self.log.parent)}
            self.process = subprocess.Popen([*MACHINE, *self.command], stdout=log, stderr=log, cwd="/", env=environment)

    def kill(self) -> None:
        """End everything on it, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None
            eventually(lambda: not self._is_taken())

    def _is_taken(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Cluster:
    """The cluster as its clients and its administrators see it."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def params(self, *, without: Node | None = None) -> dict[str, Any]:
        """libpq's parameters for whichever node may be written to; or for whichever other one."""
        nodes = [node for node in self.nodes if node is not without]
        return {
            "host": ",".join("127.0.0.1" for _ in nodes),
            "port": ",".join(str(node.port) for node in nodes),
            "user": "postgres", "password": PASSWORD, "dbname": "postgres",
            "target_session_attrs": "read-write", "application_name": NAME,
        }  # fmt: skip

    def members(self) -> list[dict[str, Any]]:
        """What Patroni says of each node; asked of whichever answers."""
        for node in self.nodes:
            try:
                with STRAIGHT.open(f"http://127.0.0.1:{node.rest}/cluster", timeout=3) as answer:
                    found: list[dict[str, Any]] = json.load(answer)["members"]
                    return found
            except OSError:
                continue
        return []

    def leader(self) -> Node | None:
        """The node that may be written to."""
        names = {
            member["name"] for member in self.members() if member["role"] == "leader" and member["state"] == "running"
        }
        return next((node for node in self.nodes if node.name in names), None)

    def is_whole(self) -> bool:
        """Whether there is a leader, and two standbys that follow it, one of them in step."""
        roles = sorted(
            member["role"]
            for member in self.members()
            if member["state"] in ("running", "streaming") and not member.get("lag")
        )
        return roles == ["leader", "replica", "sync_standby"]

    def switch_over(self, leader: Node) -> None:
        """Have another node lead, as an administrator does."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{leader.rest}/switchover",
            json.dumps({"leader": leader.name}).encode(), {"Content-Type": "application/json"}, method="POST",
        )  # fmt: skip
        with STRAIGHT.open(request, timeout=60):
            pass

    def execute(
        self, sql: str, node: Node | None = None, *, params: dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement on the leader, or on a node, or where these parameters lead."""
        params = (params or self.params()) | {"application_name": "admin"}
        if node is not None:
            params |= {"host": "127.0.0.1", "port": node.port, "target_session_attrs": "any"}
        connection = psycopg2.connect(**params, connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def settings(node: Node, folder: Path, etcd: int, programs: str, *, strict: bool) -> dict[str, Any]:
    """Patroni's configuration; JSON is YAML too."""
    login = {name: {"username": name, "password": PASSWORD} for name in ("replicator", "rewinder")}
    return {
        "scope": "drill", "name": node.name,
        "restapi": {"listen": f"127.0.0.1:{node.rest}", "connect_address": f"127.0.0.1:{node.rest}"},
        "etcd3": {"host": f"127.0.0.1:{etcd}"},
        "bootstrap": {
            "dcs": {
                "ttl": 8, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True,
                "synchronous_mode_strict": strict,
                "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 60}},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"],
        },
        "postgresql": {
            "listen": f"127.0.0.1:{node.port}", "connect_address": f"127.0.0.1:{node.port}", "bin_dir": programs,
            "data_dir": str(folder / node.name / "data"), "pgpass": str(folder / node.name / "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": PASSWORD},
                "replication": login["replicator"], "rewind": login["rewinder"],
            },
            "parameters": {"unix_socket_directories": str(folder / node.name), "fsync": False},
            "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 scram-sha-256",
                       "host replication all 127.0.0.1/32 scram-sha-256"],
            "remove_data_directory_on_rewind_failure": True, "remove_data_directory_on_diverged_timelines": True,
        },
    }  # fmt: skip


@contextmanager
def cluster(patroni: str, etcd: str, *, strict: bool) -> Iterator[Cluster]:
    """Start three nodes and etcd, with tables ``written (n int)`` and ``outside (n int)``; all gone after the block.

    Args:
        patroni, etcd: the programs' paths.
        strict: without a standby in step nothing is acknowledged; else Patroni then lets the leader go on alone.
    """
    folder = Path(tempfile.mkdtemp(dir=memory_folder()))
    as_nobody = ["setpriv", "--reuid", ACCOUNT, "--regid", "nogroup", "--clear-groups"]
    client, peer = free_port(), free_port()
    started: list[Node] = []
    try:
        store = Node("etcd", client, peer, [
            *as_nobody, etcd, "--name", "store", "--data-dir", str(folder / "etcd" / "data"),
            "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"store=http://127.0.0.1:{peer}", "--unsafe-no-fsync",
        ], folder / "etcd" / "log")  # fmt: skip
        programs = str(Path(find_binaries().program("postgres")).parent)
        nodes = []
        for number in (1, 2, 3):
            place = folder / f"node{number}"
            command = [*as_nobody, patroni, str(place / "patroni.yml")]
            nodes.append(Node(place.name, free_port(), free_port(), command, place / "log"))
        for node in (store, *nodes):
            (folder / node.name).mkdir()
            shutil.chown(folder / node.name, ACCOUNT)
        folder.chmod(0o755)
        for node in nodes:
            (folder / node.name / "patroni.yml").write_text(
                json.dumps(settings(node, folder, client, programs, strict=strict))
            )
        made = Cluster(nodes)
        for node in (store, *nodes):
            started.append(node)
            node.start()
        try:
            eventually(made.is_whole, STARTUP)
        except AssertionError as error:
            logs = "\n".join(f"-- {node.name}\n{node.log.read_text()[-3000:]}" for node in started)
            raise AssertionError(f"the cluster does not come up: {made.members()}\n{logs}") from error
        made.execute("CREATE TABLE written (n int); CREATE TABLE outside (n int)")
        yield made
    finally:
        for node in started:
            node.kill()
        shutil.rmtree(folder)
