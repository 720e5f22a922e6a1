"""A real PgBouncer, where there is one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from .pool.helpers import eventually


@contextmanager
def pgbouncer(database: str, *, mode: str) -> Iterator[str]:
    """Run one until the end of the block, with two server sessions; skip the test where there is none.

    Args:
        database: the URL of the server's database.
        mode: ``session``, ``transaction`` or ``statement``.

    Returns:
        The URL of the same database through it.
    """
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        pytest.skip("there is no pgbouncer")
    url = make_url(database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    login = f"user={url.username}" + (f" password={url.password}" if url.password else "")
    settings = (
        f"[databases]\n* = host={url.host} port={url.port} {login}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 2\nunix_socket_dir =\n"
        "ignore_startup_parameters = extra_float_digits,options\nserver_round_robin = 1\n"
    )
    account = {"user": "nobody"} if os.geteuid() == 0 else {}  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="dbkit-pgbouncer-") as folder:
        ini = Path(folder) / "pgbouncer.ini"
        ini.write_text(settings)
        for path in (ini, Path(folder)) if account else ():
            shutil.chown(path, account["user"])
        with subprocess.Popen(
            [program, "-q", str(ini)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account
        ) as it:
            try:
                eventually(lambda: _listens(port) or it.poll() is not None)
                assert it.poll() is None, "pgbouncer has ended"
                yield url.set(host="127.0.0.1", port=port, password=None).render_as_string(hide_password=False)
            finally:
                it.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
