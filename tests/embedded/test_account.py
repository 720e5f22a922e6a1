"""Who the server runs as: the program's own account, or an unprivileged one when the program is root.

Nobody's permissions are opened on the way. These tests run for real where the suite is run by root.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from dbkit.embedded import EmbeddedPostgres, account, instance
from dbkit.embedded.account import Account
from dbkit.embedded.binaries import Binaries, find_binaries
from dbkit.errors import EmbeddedServerError

from .support import DEADLINE, ROOT, assert_nothing_left, facts_of, spawn

IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root runs the server as another account")


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Return permissions and owners of a folder and everything above it."""
    found = {step: step.stat() for step in (path, *path.parents)}
    return {step: (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) for step, seen in found.items()}


@as_root
def test_root_runs_it_as_nobody(server: EmbeddedPostgres) -> None:
    nobody = pwd.getpwnam("nobody")
    process = Path(f"/proc/{server.pid}").stat()
    assert (process.st_uid, process.st_gid) == (nobody.pw_uid, nobody.pw_gid)
    groups = Path(f"/proc/{server.pid}/status").read_text().partition("Groups:")[2].splitlines()[0].split()
    assert groups == []
    assert (server.folder / "data").stat().st_uid == nobody.pw_uid
    assert (server.folder / "cluster.json").stat().st_uid == 0


@as_root
def test_a_folder_below_a_closed_one_works_and_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = modes(closed)
    with EmbeddedPostgres.start(closed / "cluster") as server:
        server.execute("CREATE TABLE kept AS SELECT 8 AS n")
        server.execute("CHECKPOINT")
        server.kill()
        server.start_again()
        data = modes(server.folder / "data")
    assert modes(closed) == before
    assert data[closed / "cluster" / "data"][0] == 0o700
    assert data[closed / "cluster"][1] == 0
    with EmbeddedPostgres.start(closed / "cluster") as again:
        assert again.execute("SELECT n FROM kept") == [(8,)]
    assert modes(closed) == before


@as_root
def test_without_proc_the_obstacle_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o711)
    monkeypatch.setattr(instance, "HERE", tmp_path / "no_proc")
    obstacle = Account(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid, "nobody").obstacle(closed)
    assert obstacle is not None
    with pytest.raises(EmbeddedServerError, match=f"'nobody' cannot go through {obstacle} to"):
        EmbeddedPostgres.start(closed / "cluster")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_programs_out_of_reach_are_copied(tmp_path: Path) -> None:
    """As in a virtual environment below /root."""
    found = find_binaries()
    if not found.from_wheel:
        pytest.skip("no programs from the wheel")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    account.copy_programs(found.folder, closed / "site-packages")
    hidden = next(closed.glob("site-packages/*/pginstall*/bin"))
    before = modes(hidden)
    assert find_binaries(hidden).version == found.version
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance, "find_binaries", lambda *_, **__: Binaries(hidden, found.version, from_wheel=True))
        with EmbeddedPostgres.start() as server:
            assert server.execute("SELECT 1") == [(1,)]
            assert not Path(f"/proc/{server.pid}/exe").resolve().is_relative_to(closed)
            copy = server._instance.binaries.folder
            assert copy.exists()
    assert not copy.exists()
    assert modes(hidden) == before
    with pytest.raises(EmbeddedServerError, match="'nobody' cannot run the programs in"):
        EmbeddedPostgres.start(binaries=hidden)  # not known to be the wheel's, so not ours to copy


@as_root
def test_another_account_may_be_named_and_is_remembered_by_the_data(tmp_path: Path) -> None:
    daemon = pwd.getpwnam("daemon")
    with EmbeddedPostgres.start(tmp_path / "cluster", run_as="daemon") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == daemon.pw_uid
    with EmbeddedPostgres.start(tmp_path / "cluster") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == daemon.pw_uid
    with pytest.raises(EmbeddedServerError, match="refuses to run as root"):
        EmbeddedPostgres.start(run_as="root")


def test_a_user_cannot_choose_another_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("daemon").pw_uid)
    with pytest.raises(EmbeddedServerError, match="only root"):
        account.account_for("nobody", tmp_path)
    assert account.account_for(None, tmp_path) is None
    assert account.account_for("daemon", tmp_path) is None


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """A folder of an unprivileged account, reachable by it (pytest's own folders are not, when run by root)."""
    import shutil
    import tempfile

    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="dbkit-user-", dir="/tmp"))
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    yield home
    shutil.rmtree(home)


@as_root
def test_an_unprivileged_user_runs_it_alone(home_of_nobody: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody)
    places = [str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    program = spawn(
        "server = EmbeddedPostgres.start(os.environ['FOLDER'])\n"
        "tell(server, user=os.geteuid(), answer=server.execute('SELECT 1'))\nserver.restart()\nserver.close()\n"
        "server = EmbeddedPostgres.start()\ntell(server)\n",
        python=python,
        env={"PYTHONPATH": ":".join(places), "FOLDER": str(home_of_nobody / "cluster"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
    )
    kept, temporary = facts_of(program), facts_of(program)
    _, errors = program.communicate(timeout=DEADLINE)
    assert program.returncode == 0, errors
    assert (kept["user"], kept["answer"]) == (nobody.pw_uid, [[1]])
    assert (home_of_nobody / "cluster" / "data").stat().st_uid == nobody.pw_uid
    assert_nothing_left(temporary)
    with EmbeddedPostgres.start(home_of_nobody / "cluster") as taken_over:  # root runs it as the data's owner
        psycopg2.connect(taken_over.url()).close()
        assert Path(f"/proc/{taken_over.pid}").stat().st_uid == nobody.pw_uid


def python_for(entry: pwd.struct_passwd) -> str:
    """Return an interpreter of this version that the account can run with this environment's packages; or skip."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            probe = subprocess.run(
                [candidate, "-c", "import sqlalchemy, psycopg2"],
                env={"PYTHONPATH": ":".join(path for path in sys.path if "site-packages" in path)},
                cwd="/",
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
                capture_output=True,
                timeout=DEADLINE,
            )
        except OSError:
            continue
        if probe.returncode == 0:
            return candidate
    pytest.skip(f"the account {entry.pw_name} can run no Python {version} with these packages")
