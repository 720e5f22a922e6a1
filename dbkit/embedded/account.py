"""Which account the server runs as. PostgreSQL refuses to run as root, so a program run by root needs another one.

Nothing here changes the permissions or the owner of anything but the files and folders it is told were just made.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from dbkit.errors import EmbeddedServerError

DEFAULT = "nobody"


@dataclass(frozen=True)
class Account:
    """An account of the machine that is not the program's own."""

    uid: int
    gid: int
    name: str

    def can_enter(self, folder: Path) -> bool:
        """Tell whether this account may go through ``folder`` (by the mode bits, which is what root goes by here)."""
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o100)
        if found.st_gid == self.gid:
            return bool(found.st_mode & 0o010)
        return bool(found.st_mode & 0o001)

    def obstacle(self, folder: Path) -> Path | None:
        """Return the topmost folder on the way to (and with) ``folder`` that this account cannot go through."""
        real = folder.resolve()
        return next((step for step in (*reversed(real.parents), real) if not self.can_enter(step)), None)


def account_for(run_as: str | None, data: Path) -> Account | None:
    """Return the account to run the server as; None means the program's own.

    Args:
        run_as: an account's name; only root can choose one. Default: the owner of ``data`` if it exists, else
            ``nobody``.
        data: the cluster's data folder, which may not exist yet.

    Raises:
        EmbeddedServerError: the account is unknown, is root itself, or may not be chosen.
    """
    if os.geteuid() != 0:
        if run_as is not None and run_as != pwd.getpwuid(os.geteuid()).pw_name:
            raise EmbeddedServerError(f"run_as={run_as!r}: only root can run the server as another account")
        return None
    try:
        if run_as is not None:
            entry = pwd.getpwnam(run_as)
        elif data.exists():
            entry = pwd.getpwuid(data.stat().st_uid)
        else:
            entry = pwd.getpwnam(DEFAULT)
    except KeyError:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and there is no account {run_as or DEFAULT!r} to run it as. "
            "Name another (run_as=...), or run the program as a user"
        ) from None
    if entry.pw_uid == 0:
        raise EmbeddedServerError("PostgreSQL refuses to run as root: name another account (run_as=...)")
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def make_folder(path: Path, account: Account | None, *, mode: int = 0o700) -> Path:
    """Make a folder that belongs to ``account``. It must not exist yet."""
    path.mkdir(mode=mode)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    path.chmod(mode)  # whatever the umask
    return path


def copy_programs(folder: Path, target: Path) -> Path:
    """Copy the wheel's programs to where any account can run them; return the copied folder of programs.

    ``folder`` is ``.../site-packages/PACKAGE/pginstallNN/bin``. The programs find ``share`` and their libraries
    relative to themselves, so the layout stays. About 25 MB, a few hundredths of a second.
    """
    install = folder.parent
    package = install.parent
    copied = target / package.name / install.name
    for name in ("lib", "share"):
        shutil.copytree(install / name, copied / name, ignore=shutil.ignore_patterns("pkgconfig", "pgxs", "*.a"))
    (copied / "bin").mkdir()
    for name in ("initdb", "postgres"):
        shutil.copy2(folder / name, copied / "bin" / name)
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for place, _, files in os.walk(target):
        Path(place).chmod(0o755)
        for name in files:
            file = Path(place, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
    return copied / "bin"
