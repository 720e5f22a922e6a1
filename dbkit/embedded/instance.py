"""One cluster with its programs, its account, its runtime folder and its guard: made, started, ended.

The runtime folder is a short path under the system's folder for temporary files. It is the program's own and holds what
must lie where the server's account can reach it: the unix socket's folder (``s``), the superuser's password while the
cluster is made, a copy of the programs where the originals are out of reach, and a temporary cluster.

Invariant: a folder the account owns is one made here for it. Nothing else changes its owner or its permissions.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbkit.embedded import launch
from dbkit.embedded.account import Account, account_for, copy_programs, make_folder
from dbkit.embedded.binaries import Binaries, find_binaries
from dbkit.embedded.cluster import ClusterFolder, Superuser, claim_folder
from dbkit.embedded.guard import Guard
from dbkit.errors import EmbeddedServerError

HERE = Path("/proc/self/cwd")  # a way to the working folder that needs no permission on the folders above (Linux)
SOCKET_ROOM = 60  # bytes of a socket's path at most above the runtime folder; the system's limit is 104 to 108
PORT_TRIES = 5
ORPHAN_WAIT = 10.0  # seconds for a server whose guard was killed
PORT_TAKEN = ("could not bind", "could not create any TCP/IP sockets")


@dataclass(frozen=True)
class Options:
    """How a server is to run; see ``EmbeddedPostgres.start``."""

    settings: dict[str, str]
    tcp: bool
    unix_socket: bool
    durable: bool
    timeout: float


class Instance:
    """A cluster that can be started and ended any number of times, until it is closed."""

    def __init__(
        self,
        *,
        cluster: ClusterFolder,
        runtime: Path,
        guard: Guard,
        binaries: Binaries,
        account: Account | None,
        superuser: Superuser,
        options: Options,
    ) -> None:
        self.cluster = cluster
        self.guard = guard
        self.binaries = binaries
        self.superuser = superuser
        self.options = options
        self.port = 0
        self.pid: int | None = None
        self._runtime = runtime
        self._account = account
        self.socket_folder = make_folder(runtime / "s", account) if options.unix_socket else None

    @classmethod
    def prepare(
        cls,
        folder: Path | None,
        *,
        user: str | None,
        password: str | None,
        binaries: str | os.PathLike[str] | None,
        run_as: str | None,
        temp_dir: Path | None,
        options: Options,
    ) -> Instance:
        """Claim the folder, find the programs and the account, start the guard. The cluster may not exist yet."""
        with contextlib.ExitStack() as undo:
            runtime = _make_runtime(temp_dir)
            undo.callback(shutil.rmtree, runtime, ignore_errors=True)
            cluster = claim_folder(runtime / "cluster" if folder is None else folder)
            undo.callback(os.close, cluster.lock)
            programs = find_binaries(binaries, major=cluster.major if cluster.exists else None)
            account = account_for(run_as, cluster.data)
            if account is not None:
                runtime.chmod(0o711)  # made just now: the account goes through it to what is its own inside
                programs = _within_reach(programs, account, runtime)
            if cluster.exists:
                superuser = cluster.recall(user, password)
            else:
                superuser = Superuser(user or "postgres", password or secrets.token_urlsafe(24))
            goodbye = signal.SIGQUIT if folder is None else signal.SIGINT  # no need to shut down what is thrown away
            guard = Guard([runtime], goodbye, cluster.log, cluster.lock)
            undo.pop_all()  # from here on the guard answers for the folder and the lock
        try:
            return cls(
                cluster=cluster,
                runtime=runtime,
                guard=guard,
                binaries=programs,
                account=account,
                superuser=superuser,
                options=options,
            )
        except BaseException:
            guard.let_go()
            raise

    def make_cluster(self) -> None:
        """Make the cluster, all or nothing.

        Raises:
            EmbeddedServerError: ``initdb`` failed; with the end of what it said.
        """
        cluster, account = self.cluster, self._account
        cluster.clear_partial()
        partial = make_folder(cluster.partial, account)
        password_file = self._runtime / "password"
        with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.superuser.password + "\n")
        offset = cluster.log.stat().st_size
        try:
            if account is not None:
                os.chown(password_file, account.uid, account.gid)
            command = launch.initdb_command(
                self.binaries,
                self._way_to(partial),
                user=self.superuser.user,
                password_file=password_file,
                durable=self.options.durable,
            )
            timeout = self.options.timeout
            code = self.guard.ask("run", seconds=timeout, timeout=timeout, **self._process(command, partial))["exit"]
        finally:
            password_file.unlink()
        if code != 0:
            why = f"took longer than {timeout:g} s" if code is None else f"ended with code {code}"
            raise EmbeddedServerError(f"initdb {why}. It said:\n{cluster.log_since(offset)}")
        cluster.remember(self.superuser)
        partial.rename(cluster.data)

    def choose_port(self, port: int | None) -> None:
        """Take the port asked for, or a free one. Without TCP it is only a part of the socket's name.

        Raises:
            EmbeddedServerError: the port is taken.
        """
        if self.options.tcp:
            self.port, reservation = launch.reserve_port(port)
            self.guard.hold_port(reservation)
        else:
            self.port = port or 5432

    def first_start(self, port: int | None) -> None:
        """Make the cluster if there is none, and start the server on the port asked for or a free one.

        Raises:
            EmbeddedServerError: the port is taken, or the server cannot be started.
        """
        self.choose_port(port)
        if not self.cluster.exists:
            self.make_cluster()
        for _ in range(0 if port else PORT_TRIES):
            try:
                return self.start()
            except PortTakenError:  # somebody was faster, where a port cannot be reserved
                self.choose_port(None)
        return self.start()

    def start(self) -> None:
        """Start the server on the port chosen and wait until it takes connections.

        Raises:
            EmbeddedServerError: it does not; with the end of its log.
        """
        self.guard.require_open()
        cluster, timeout = self.cluster, self.options.timeout
        command = launch.server_command(
            self.binaries,
            self._way_to(cluster.data),
            port=self.port,
            tcp=self.options.tcp,
            socket_folder=self.socket_folder,
            settings=self.options.settings,
            durable=self.options.durable,
        )
        offset = cluster.log.stat().st_size
        answer = self.guard.ask(
            "start",
            seconds=timeout,
            timeout=timeout,
            pid_file=str(cluster.pid_file),
            **self._process(command, cluster.data),
        )
        if answer["ready"]:
            self.pid = answer["pid"]
            return
        said = cluster.log_since(offset)
        if any(sign in said for sign in PORT_TAKEN):
            raise PortTakenError(
                f"port {self.port} was taken by another program: free it, or start a server on another port"
            )
        why = f"was not ready within {timeout:g} s" if answer["exit"] is None else f"ended with code {answer['exit']}"
        raise EmbeddedServerError(f"the server in {cluster.path} {why}. Its log says:\n{said}")

    def end(self, number: signal.Signals) -> None:
        """Send the server a signal and wait until all its processes are gone.

        Raises:
            EmbeddedServerError: they were not within the timeout.
        """
        timeout = self.options.timeout
        if not self.guard.ask("signal", seconds=timeout, number=int(number), timeout=timeout)["gone"]:
            raise EmbeddedServerError(
                f"the server (process {self.pid}) was still there {timeout:g} s after {number.name}. "
                'Clients may hold it up: stop("fast"), stop("immediate") or close()'
            )
        self.pid = None

    def close(self) -> None:
        """End the server for good and remove the runtime folder. May be called twice; does nothing in a forked child.

        Raises:
            EmbeddedServerError: the guard did not end in time.
        """
        if not self.guard.is_mine:
            return
        self.pid = None
        self.guard.let_go()
        if self._runtime.exists():  # the guard itself was killed; the server is told so by the system and is ending
            deadline = time.monotonic() + ORPHAN_WAIT
            while self.cluster.pid_file.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            shutil.rmtree(self._runtime, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether the server's first process lives."""
        return self.guard.is_open and self.pid is not None and bool(self.guard.ask("poll")["running"])

    def _process(self, command: list[str], folder: Path) -> dict[str, Any]:
        account = self._account
        return {
            "argv": command,
            "cwd": str(folder),
            "env": launch.environment(),
            "account": [account.uid, account.gid] if account else None,
            "log": str(self.cluster.log),
        }

    def _way_to(self, folder: Path) -> str:
        """Return the path by which the server's account reaches ``folder``, its working folder."""
        if self._account is None or (obstacle := self._account.obstacle(folder)) is None:
            return str(folder)
        if HERE.exists():
            return str(HERE)
        raise EmbeddedServerError(
            f"the server cannot run as root, and the account {self._account.name!r} cannot go through {obstacle} to "
            f"{folder}. Choose a folder it can reach, or another account (run_as=...)"
        )


class PortTakenError(EmbeddedServerError):
    """The port is in use by another program."""


def _make_runtime(temp_dir: Path | None) -> Path:
    """Make the runtime folder, where a socket's path is short enough and, for root's sake, open to go through."""
    place = (temp_dir or Path(tempfile.gettempdir())).absolute()
    try:
        closed = os.geteuid() == 0 and any(not step.stat().st_mode & 0o001 for step in (place, *place.parents))
    except OSError as error:
        raise EmbeddedServerError(f"no temporary folder in {place}: {error.strerror}") from error
    if closed or len(os.fsencode(place)) > SOCKET_ROOM:
        if temp_dir is not None:
            raise EmbeddedServerError(f"temp_dir={str(temp_dir)!r}: the path is too long, or closed to other accounts")
        place = Path("/tmp")
    try:
        return Path(tempfile.mkdtemp(prefix="dbkit-pg-", dir=place))
    except OSError as error:
        raise EmbeddedServerError(f"cannot make a temporary folder in {place}: {error.strerror}") from error


def _within_reach(programs: Binaries, account: Account, runtime: Path) -> Binaries:
    """Return programs the account can run: these, or a copy of the wheel's."""
    with contextlib.suppress(PermissionError):
        subprocess.run(
            [programs.program("initdb"), "--version"],
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=20,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
        return programs
    if not programs.from_wheel:
        raise EmbeddedServerError(
            f"the server cannot run as root, and the account {account.name!r} cannot run the programs in "
            f"{programs.folder}. Give others (binaries=...), or another account (run_as=...)"
        )
    copied = copy_programs(programs.folder, make_folder(runtime / "programs", None, mode=0o755))
    return Binaries(copied, programs.version, from_wheel=True)
