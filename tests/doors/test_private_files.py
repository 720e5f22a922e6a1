"""The embedded server's folders and files are its own: nobody else may read, enter or connect."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dbkit.embedded import EmbeddedPostgres

OTHERS = stat.S_IRWXO
MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def below(folder: Path) -> list[Path]:
    return [folder, *(Path(at) / name for at, folders, files in os.walk(folder) for name in (*folders, *files))]


def is_private(path: Path) -> bool:
    """Whether others get nowhere with it: by its own mode, or because a folder above lets nobody through."""
    return any(not each.lstat().st_mode & OTHERS for each in (path, *path.parents) if each.exists())


def test_data_password_and_socket_are_out_of_others_reach(tmp_path: Path, memory_folder: str | None) -> None:
    with EmbeddedPostgres.start(temp_dir=memory_folder) as server:
        [(data, sockets)] = server.execute(
            "SELECT current_setting('data_directory'), current_setting('unix_socket_directories')"
        )
        data = Path(f"/proc/{server.pid}/cwd").readlink() if data.startswith("/proc") else Path(data)
        base = data.parent
        found = below(base)
        assert any(path.name == "PG_VERSION" for path in found)
        readable = [path for path in found if not is_private(path)]
        assert all(path.is_dir() and not path.lstat().st_mode & MAY_WRITE for path in readable), readable
        writable = [path for path in found if path.lstat().st_mode & MAY_WRITE and not path.is_symlink()]
        assert all(is_private(path) for path in writable), writable
        for folder in filter(None, (part.strip() for part in sockets.split(","))):
            place = Path(folder) if Path(folder).is_absolute() else data / folder
            if place.exists():
                assert not place.stat().st_mode & MAY_WRITE, (place, oct(place.stat().st_mode))


def test_nobody_gets_in_without_the_password(server: Any, shared_database: str) -> None:
    import psycopg2
    from sqlalchemy import make_url

    for url in (make_url(shared_database), make_url(server.url("shared", socket=True))):
        for password in ("", "postgres", None):
            given = {"host": url.query.get("host") or url.host, "port": url.query.get("port") or url.port}
            with pytest.raises(psycopg2.OperationalError, match=r"password|fe_sendauth"):
                psycopg2.connect(**given, user="postgres", dbname="shared", password=password, passfile="/dev/null")
