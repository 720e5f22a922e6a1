"""The embedded server as its callers see it: starting, connecting, restarting, several at a time, what is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import create_engine, make_url, text

from dbkit.embedded import EmbeddedPostgres, cluster, launch
from dbkit.errors import EmbeddedServerError

from .support import DEADLINE, alive, facts_of, spawn, until


def test_it_answers_over_tcp_and_over_the_socket(server: EmbeddedPostgres) -> None:
    for url in (server.url(), server.url(socket=True)):
        connection = psycopg2.connect(url)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, inet_server_port(), current_setting('server_version')")
            row = cursor.fetchone()
        connection.close()
        assert row is not None
        assert row[0] == "postgres"
        assert row[1] == (server.port if "@127.0.0.1" in url else None)
        assert row[2].split()[0] == server.version


def test_sqlalchemy_understands_its_urls(server: EmbeddedPostgres) -> None:
    for url in (server.url(), server.url(socket=True)):
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        engine.dispose()


@pytest.mark.parametrize("socket", [False, True])
@pytest.mark.parametrize("password", ["wrong", ""])
def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres, socket: bool, password: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(server.url(password=password, socket=socket), passfile=os.devnull)


def test_passwords_are_scram(server: EmbeddedPostgres) -> None:
    assert server.execute("SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = 'postgres'") == [
        ("SCRAM-SHA-256$",)
    ]
    methods = server.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert methods == [("scram-sha-256",)]


def test_it_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    assert server.execute("SHOW listen_addresses") == [("127.0.0.1",)]
    assert server.socket_folder is not None
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
    assert server.execute("SHOW unix_socket_directories") == [(str(server.socket_folder),)]


def test_letters_are_unicode_and_times_are_utc(server: EmbeddedPostgres) -> None:
    assert server.execute("SHOW server_encoding") == [("UTF8",)]
    assert server.execute("SHOW timezone") == [("UTC",)]
    if int(server.version.split(".")[0]) >= 17:
        assert server.execute("SELECT lower('ÀÉÎ'), 'a' < 'B'") == [("àéî", False)]


def test_databases_come_and_go(server: EmbeddedPostgres) -> None:
    name = 'odd "name" / with % and é'
    url = server.create_database(name)
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (name,)
        cursor.execute("CREATE TABLE here AS SELECT 7 AS n")
    connection.close()
    server.create_database("copy_of_odd", template=name)
    assert server.execute("SELECT n FROM here", database="copy_of_odd") == [(7,)]
    left_open = psycopg2.connect(server.url("copy_of_odd"))
    server.drop_database("copy_of_odd")
    left_open.close()
    server.drop_database(name)
    assert server.execute("SELECT count(*) FROM pg_database WHERE datname IN (%s, 'copy_of_odd')", [name]) == [(0,)]
    with pytest.raises(psycopg2.errors.InvalidCatalogName):
        server.drop_database(name)


def test_the_password_does_not_show(server: EmbeddedPostgres) -> None:
    assert server.password not in repr(server)
    assert server.password not in repr(server._instance.superuser)
    if (command := Path(f"/proc/{server.pid}/cmdline")).exists():
        assert server.password not in command.read_text()


def test_another_users_url_holds_no_password_of_the_superuser(server: EmbeddedPostgres) -> None:
    assert server.password not in server.url(user="ada")
    assert "//ada:p%40ss@" in server.url(user="ada", password="p@ss")


def test_two_servers_at_once_know_nothing_of_each_other(server: EmbeddedPostgres) -> None:
    password = "only-of-the-second-one"  # no word that a drill may show by chance: its canary knows all passwords
    with EmbeddedPostgres.start(password=password) as other:
        assert other.port != server.port
        assert other.pid != server.pid
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(server.url(password=password))
        assert other.execute("SELECT 1") == server.execute("SELECT 1")
    assert server.running


@pytest.fixture(scope="module")
def own(memory_folder: str | None) -> Iterator[EmbeddedPostgres]:
    """A server to stop and start."""
    settings: dict[str, launch.Setting] = {"max_connections": 23, "log_connections": True}
    with EmbeddedPostgres.start(settings=settings, temp_dir=memory_folder) as server:
        yield server


class TestOutage:
    """Stopping and starting again, on one server."""

    def test_settings_arrive(self, own: EmbeddedPostgres) -> None:
        assert own.execute("SHOW max_connections") == [("23",)]
        assert own.execute("SHOW fsync") == [("off",)]
        assert not own.durable

    @pytest.mark.parametrize("mode", ["fast", "immediate", "smart", "kill"])
    def test_an_outage_and_the_return_on_the_same_port(self, own: EmbeddedPostgres, mode: str) -> None:
        url, first = own.url(), own.pid
        assert first is not None
        connection = psycopg2.connect(url)
        if mode == "smart":
            connection.close()
        own.kill() if mode == "kill" else own.stop(mode)  # type: ignore[arg-type]
        assert own.pid is None
        assert not own.running
        assert not alive(first)
        own.stop()  # nothing to do
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            psycopg2.connect(url)
        if mode != "smart":
            with pytest.raises(psycopg2.OperationalError), connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        own.start_again()
        assert own.running
        assert own.url() == url
        psycopg2.connect(url).close()
        with pytest.raises(EmbeddedServerError, match="runs already"):
            own.start_again()

    def test_the_port_stays_ours_while_the_server_is_down(self, own: EmbeddedPostgres) -> None:
        if os.uname().sysname != "Linux":
            pytest.skip("only Linux keeps a port without listening on it")
        own.stop()
        taken = {launch.reserve_port(None) for _ in range(50)}
        try:
            assert own.port not in {port for port, _ in taken}
            own.start_again()
        finally:
            for _, holder in taken:
                assert holder is not None
                holder.close()

    def test_restart_gives_a_new_process(self, own: EmbeddedPostgres) -> None:
        before = own.pid
        own.restart()
        assert own.pid != before
        assert own.execute("SELECT 1") == [(1,)]

    def test_a_crash_is_noticed(self, own: EmbeddedPostgres) -> None:
        assert own.pid is not None
        os.kill(own.pid, 9)
        until(lambda: not own.running, "the crash is seen")
        own.stop()
        own.start_again()
        assert own.execute("SELECT 1") == [(1,)]

    def test_a_bad_mode(self, own: EmbeddedPostgres) -> None:
        with pytest.raises(EmbeddedServerError, match="one of smart, fast, immediate"):
            own.stop("quick")  # type: ignore[arg-type]
        assert own.running

    def test_its_log_is_at_hand(self, own: EmbeddedPostgres) -> None:
        psycopg2.connect(own.url()).close()
        until(lambda: "connection authorized" in own.log_tail(40), "the connection is in the log")


def test_closing_is_final_and_may_be_repeated() -> None:
    server = EmbeddedPostgres.start(tcp=False)
    assert server.execute("SHOW listen_addresses") == [("",)]
    with pytest.raises(EmbeddedServerError, match="socket=True"):
        server.url()
    assert "host=%2F" in server.create_database("there")
    folder = server.folder
    server.close()
    server.close()
    server.stop()
    assert not folder.exists()
    assert not server.running
    assert "closed" in repr(server)
    with pytest.raises(EmbeddedServerError, match="closed"):
        server.start_again()


def test_a_kept_folder_keeps_data_user_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "new folder"
    with EmbeddedPostgres.start(folder, user="ada", password="p@ss / word%") as server:
        assert server.durable
        assert server.execute("SHOW fsync") == [("on",)]
        server.execute("CREATE TABLE kept AS SELECT 5 AS n")
        assert stat.S_IMODE((folder / "cluster.json").stat().st_mode) == 0o600
        monkeypatch.setattr(cluster, "LOCK_WAIT", 0.05)
        with pytest.raises(EmbeddedServerError, match="another program runs a server in"):
            EmbeddedPostgres.start(folder)
    for wrong in ({"user": "bob"}, {"password": "other"}):
        with pytest.raises(EmbeddedServerError, match=f"made with another {next(iter(wrong))}") as caught:
            EmbeddedPostgres.start(folder, **wrong)  # type: ignore[arg-type]
        assert "p@ss" not in str(caught.value)
    with EmbeddedPostgres.start(folder, unix_socket=False, durable=False) as again:
        assert (again.user, again.password, again.socket_folder) == ("ada", "p@ss / word%", None)
        assert again.execute("SELECT n FROM kept") == [(5,)]
        with pytest.raises(EmbeddedServerError, match="unix_socket=False"):
            again.url(socket=True)
    assert sorted(entry.name for entry in folder.iterdir()) == ["cluster.json", "data", "lock", "server.log"]


def test_a_program_killed_leaves_a_kept_folder_that_starts_again(tmp_path: Path) -> None:
    """The next start waits for the guard of the program that is gone, then finds what was committed."""
    program = spawn(
        "server = EmbeddedPostgres.start(os.environ['FOLDER'])\n"
        "server.execute('CREATE TABLE kept AS SELECT 6 AS n')\n"
        "tell(server)\nsys.stdin.read()\n",
        env={"FOLDER": str(tmp_path / "cluster")},
    )
    facts = facts_of(program)
    program.kill()
    with EmbeddedPostgres.start(tmp_path / "cluster") as server:
        assert not alive(facts["pid"])
        assert server.execute("SELECT n FROM kept") == [(6,)]
    program.communicate(timeout=DEADLINE)


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "data.partial").mkdir()
    (tmp_path / "data.partial" / "rubbish").touch()
    (tmp_path / "cluster.json").write_text('{"user": "old", "password": "old"}')
    with EmbeddedPostgres.start(tmp_path) as server:
        assert server.user == "postgres"
        assert server.execute("SELECT 1") == [(1,)]


def test_a_long_path_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path.joinpath(*["a_rather_long_name_for_a_folder"] * 8)
    folder.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with EmbeddedPostgres.start(folder / "cluster") as server:
        psycopg2.connect(server.url(socket=True)).close()


def test_a_port_of_the_callers(server: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedServerError, match=f"port={server.port}: it is taken"):
        EmbeddedPostgres.start(port=server.port)
    number, holder = launch.reserve_port(None)
    if holder is not None:
        holder.close()
    with EmbeddedPostgres.start(port=number) as own:
        assert own.port == number


def test_a_free_port_that_was_snatched_is_replaced(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, tries = launch.reserve_port, []

    def snatched(port: int | None) -> tuple[int, object]:
        tries.append(port)
        return (server.port, None) if len(tries) == 1 else honest(port)

    monkeypatch.setattr(launch, "reserve_port", snatched)
    with EmbeddedPostgres.start() as own:
        assert own.port != server.port
        assert own.execute("SELECT 1") == [(1,)]
    assert tries == [None, None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tcp": False, "unix_socket": False}, "nobody could connect"),
        ({"password": ""}, "password: give some text"),
        ({"password": "two\nlines"}, "password: give some text on one line"),
        ({"user": ""}, "user: give some text"),
        ({"port": 70000}, "port=70000"),
        ({"settings": {"port": 5}}, "see port="),
        ({"settings": {"max connections": 5}}, "not the name of a server setting"),
        ({"temp_dir": "/nowhere/at/all"}, "no temporary folder"),
        ({"run_as": "no-such-account"}, "run_as|no-such-account"),
        ({"user": "pg_cannot_be"}, 'initdb ended with code 1(.|\n)*superuser name "pg_cannot_be" is disallowed'),
        ({"settings": {"shared_buffers": "much"}}, 'invalid value for parameter "shared_buffers"'),
        ({"timeout": 0.001}, "initdb took longer than 0.001 s"),
    ],
)
def test_what_is_refused_leaves_nothing(arguments: dict[str, object], said: str, tmp_path: Path) -> None:
    place = Path("/tmp") / f"dbkit-refused-{os.getpid()}"
    place.mkdir()
    try:
        with pytest.raises(EmbeddedServerError, match=said):
            EmbeddedPostgres.start(**{"temp_dir": place, **arguments})  # type: ignore[arg-type]
    finally:
        place.rmdir()  # fails if anything was left in it


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EmbeddedServerError, match=r"already holds other things \(thesis.txt\)"):
        EmbeddedPostgres.start(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(EmbeddedServerError, match=r"thesis\.txt"):
        EmbeddedPostgres.start(tmp_path / "thesis.txt")


def test_data_made_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(EmbeddedServerError, match="was not made here"):
        EmbeddedPostgres.start(tmp_path)
    assert not any((tmp_path / "data").iterdir())


def test_a_cluster_of_another_major_version_names_both(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    (tmp_path / "cluster.json").write_text('{"user": "postgres", "password": "x"}')
    with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 9, and the programs found are"):
        EmbeddedPostgres.start(tmp_path)
