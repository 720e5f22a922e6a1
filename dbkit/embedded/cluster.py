"""A cluster's folder: what lies in it, who may use it, and how it comes to be.

    FOLDER/cluster.json    the superuser's name and password, readable by the owner only
    FOLDER/data/           the cluster itself, owned by the account the server runs as; there only when complete
    FOLDER/data.partial/   a cluster being made; thrown away when found
    FOLDER/lock            locked while a server runs here
    FOLDER/server.log

Invariant: ``data`` exists only together with the ``cluster.json`` that was written for it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from dbkit.embedded.binaries import major_of
from dbkit.embedded.guard import lock_file
from dbkit.errors import EmbeddedServerError

NAMES = frozenset({"cluster.json", "data", "data.partial", "lock", "server.log"})
LOCK_WAIT = 10.0  # seconds for a server that is just being stopped


@dataclass(frozen=True)
class Superuser:
    """The cluster's superuser. Its password does not show in ``repr``."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Superuser(user={self.user!r}, password='***')"


@dataclass(frozen=True)
class ClusterFolder:
    """A folder that holds one cluster, or will. Made by ``claim_folder``.

    Attributes:
        path: the folder.
        lock: the descriptor that holds its lock; the next owner of the folder closes it.
    """

    path: Path
    lock: int

    @property
    def data(self) -> Path:
        """The data folder of the server."""
        return self.path / "data"

    @property
    def partial(self) -> Path:
        """Where a cluster is being made."""
        return self.path / "data.partial"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "server.log"

    @property
    def pid_file(self) -> Path:
        """The server's own note of its process and state."""
        return self.data / "postmaster.pid"

    @property
    def exists(self) -> bool:
        """Whether it already holds a whole cluster."""
        return self.data.exists()

    @property
    def major(self) -> int:
        """The major version of PostgreSQL that made the cluster."""
        return major_of((self.data / "PG_VERSION").read_text(encoding="ascii"))

    def recall(self, user: str | None, password: str | None) -> Superuser:
        """Return the superuser the cluster was made with.

        Raises:
            EmbeddedServerError: it cannot be read, or the caller names another user or password.
        """
        note = self.path / "cluster.json"
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            superuser = Superuser(str(known["user"]), str(known["password"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EmbeddedServerError(
                f"cannot read the user and password of this cluster from {note}: {error}"
            ) from error
        for what, given, remembered in (
            ("user", user, superuser.user),
            ("password", password, superuser.password),
        ):
            if given is not None and given != remembered:
                raise EmbeddedServerError(
                    f"the cluster in {self.path} was made with another {what}: leave {what} out, or give another folder"
                )
        return superuser

    def remember(self, superuser: Superuser) -> None:
        """Write down the superuser for the next start, readable by the owner only."""
        fresh = self.path / "cluster.json"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"user": superuser.user, "password": superuser.password}, file)
            file.flush()
            os.fsync(file.fileno())

    def clear_partial(self) -> None:
        """Throw away what an interrupted start left."""
        if self.partial.exists():
            shutil.rmtree(self.partial)

    def log_since(self, offset: int, lines: int = 15) -> str:
        """Return the last lines the server wrote after byte ``offset`` of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(offset)
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.strip().splitlines()[-lines:]) or "(nothing in the log)"


def claim_folder(path: Path) -> ClusterFolder:
    """Make the folder if needed and lock it for this program.

    Raises:
        EmbeddedServerError: it holds something else, another program's server runs in it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        strangers = sorted({entry.name for entry in path.iterdir()} - NAMES)
    except OSError as error:
        raise EmbeddedServerError(f"folder={str(path)!r}: {error.strerror or error}") from error
    if strangers:
        raise EmbeddedServerError(
            f"folder={str(path)!r} already holds other things ({', '.join(strangers[:3])}"
            f"{', ...' if len(strangers) > 3 else ''}): give an empty or new folder"
        )
    try:
        folder = ClusterFolder(path, lock_file(path / "lock", LOCK_WAIT))
    except OSError as error:
        raise EmbeddedServerError(f"folder={str(path)!r}: {error.strerror or error}") from error
    try:
        folder.log.touch(mode=0o600)
        if folder.exists and not (path / "cluster.json").exists():
            raise EmbeddedServerError(
                f"folder={str(path)!r}: its data folder was not made here (no cluster.json beside it)"
            )
    except BaseException:
        os.close(folder.lock)
        raise
    return folder
