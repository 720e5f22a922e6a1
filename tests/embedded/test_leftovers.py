"""However a program ends, nothing of its server is left: no process, no temporary folder."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dbkit.embedded import EmbeddedPostgres
from dbkit.errors import EmbeddedServerError

from .support import DEADLINE, alive, assert_nothing_left, facts_of, spawn, until

WAITS = "server = EmbeddedPostgres.start()\ntell(server)\nsys.stdin.read()\n"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise LookupError('wrong')", 1),
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5),
    ],
)
def test_a_program_that_ends_by_itself(ending: str, code: int) -> None:
    program = spawn(f"server = EmbeddedPostgres.start()\ntell(server)\n{ending}\n")
    facts = facts_of(program)
    errors = program.communicate(timeout=DEADLINE)[1]
    assert program.returncode == code, errors
    assert_nothing_left(facts)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_ended_by_a_signal(number: signal.Signals) -> None:
    program = spawn(WAITS)
    facts = facts_of(program)
    assert alive(facts["pid"])
    program.send_signal(number)
    program.communicate(timeout=DEADLINE)
    assert program.returncode == -number
    assert_nothing_left(facts)


def test_ctrl_c_at_a_terminal_reaches_the_program_and_not_the_server() -> None:
    program = spawn(
        "with EmbeddedPostgres.start() as server:\n"
        "    try:\n"
        "        tell(server)\n"
        "        sys.stdin.read()\n"
        "    except KeyboardInterrupt: print(server.execute('SELECT 42')[0][0], flush=True)\n"
    )
    facts = facts_of(program)
    os.killpg(program.pid, signal.SIGINT)  # what a terminal does
    output, errors = program.communicate(timeout=DEADLINE)
    assert output.strip() == "42", errors
    assert program.returncode == 0
    assert_nothing_left(facts)


def test_a_program_killed_while_the_cluster_is_being_made() -> None:
    program = spawn(
        "from dbkit.embedded.instance import Instance\n"
        "make = Instance.make_cluster\n"
        "def telling(self):\n"
        "    print(json.dumps(dict(guard=self.guard._process.pid, folder=str(self.cluster.path))), flush=True)\n"
        "    make(self)\n"
        "Instance.make_cluster = telling\n"
        "EmbeddedPostgres.start()\nsys.stdin.read()\n"
    )
    facts = facts_of(program)
    program.kill()
    program.communicate(timeout=DEADLINE)
    assert_nothing_left({**facts, "pid": facts["guard"]})


def test_a_forked_child_neither_stops_the_server_nor_keeps_it_alive() -> None:
    program = spawn(
        "server = EmbeddedPostgres.start()\n"
        "for ending in (lambda: sys.exit(0), lambda: os._exit(0), server.stop, server.close):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        ending()\n"
        "        os._exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    server.execute('SELECT 1')\n"
        "reading, writing = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.close(writing)\n"
        "    os.read(reading, 1)  # outlives its parent, until the test kills it\n"
        "    signal.pause()\n"
        "tell(server, child=child)\n"
        "sys.stdin.readline()\n"
        "os._exit(0)\n"
    )
    facts = facts_of(program)
    try:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
        until(lambda: program.poll() is not None, "the parent has ended")
        assert_nothing_left(facts)
        assert alive(facts["child"])
    finally:
        os.kill(facts["child"], signal.SIGKILL)
        program.communicate(timeout=DEADLINE)


def test_a_server_whose_guard_is_killed_ends_too() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux can tie a process to its parent")
    server = EmbeddedPostgres.start()
    pid = server.pid
    assert pid is not None
    server._guard._process.kill()
    until(lambda: not alive(pid), "the server is gone")
    with pytest.raises(EmbeddedServerError, match="gone"):
        server.restart()
    server.close()
    assert not server.folder.exists()


def test_a_forgotten_server_is_stopped() -> None:
    server = EmbeddedPostgres.start()
    pid, folder = server.pid, server.folder
    assert pid is not None
    del server
    gc.collect()
    assert not alive(pid)
    assert not folder.exists()


def test_backends_end_with_the_server() -> None:
    with EmbeddedPostgres.start() as server:
        client = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import psycopg2; c = psycopg2.connect({server.url()!r}).cursor()\n"
                "c.execute('SELECT pg_backend_pid()'); print(c.fetchone()[0], flush=True)\n"
                "c.execute('SELECT pg_sleep(600)')",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert client.stdout is not None
        backend = int(client.stdout.readline())
        assert alive(backend)
        server.kill()
        until(lambda: not alive(backend), "the client's process is gone")
    client.communicate(timeout=DEADLINE)
    assert client.returncode == 1


def test_a_killed_server_leaves_no_shared_memory() -> None:
    segments = Path("/proc/sysvipc/shm")
    if not segments.exists():
        pytest.skip("this system does not list its shared memory")

    def known() -> set[str]:
        return {line.split()[1] for line in segments.read_text().splitlines()[1:]}

    with EmbeddedPostgres.start() as server:
        mine = (server.folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert mine in known()
        server.kill()
        assert mine in known()  # so there is something to clean up
    assert mine not in known()


def test_a_guard_asked_to_end_stops_the_server_first() -> None:
    server = EmbeddedPostgres.start()
    server._guard._process.terminate()
    server._guard._process.wait(DEADLINE)
    assert server.pid is not None
    assert not alive(server.pid)
    assert not server.folder.exists()
    server.close()


def test_the_command_runs_until_ctrl_c() -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "dbkit.embedded", "--database", "movies", "--set", "max_connections=37"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    url = command.stdout.readline().strip()
    import psycopg2

    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_database(), current_setting('max_connections'), current_setting('data_directory')"
        )
        database, most, data = cursor.fetchone() or ("", "", "")
    connection.close()
    assert (database, most) == ("movies", "37")
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=DEADLINE)
    assert command.returncode == 0
    assert errors.splitlines()[-1] == "stopped"
    assert not Path(data).exists()


def test_the_command_says_why_it_cannot(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dbkit.embedded", "--binaries", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert "no working initdb and postgres" in done.stderr
    assert "Traceback" not in done.stderr
