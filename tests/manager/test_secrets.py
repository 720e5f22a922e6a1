"""No secret shows: not in the engine, not in a ``repr``, not in the locals of a traceback."""

from __future__ import annotations

import socket

import psycopg2
import pytest
from sqlalchemy import exc, make_url

from dbkit import DatabaseConnectionManager, DatabaseSettings, SettingsError
from dbkit.engine import build_engine

from ..shown import everything_shown

CANARY = "s3cr3t-canary"
SSL_CANARY = "ssl-s3cr3t-canary"


@pytest.fixture
def settings(shared_database):
    """Settings with canaries for secrets; ``replace`` says what else is wrong with them."""
    url = make_url(shared_database)
    return DatabaseSettings.load(
        {"host": "127.0.0.1", "port": url.port, "user": url.username, "database": url.database,
         "password": CANARY, "sslpassword": SSL_CANARY},
        env_file=None, min_size=1, max_size=2, timeout=10,
    )  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


WRONG = {
    "password": dict,
    "refused": lambda: {"port": free_port()},
    "role": lambda: {"username": "nobody_here"},
    "host": lambda: {"host": "no-such-host.invalid"},
    "option": lambda: {"options": "-c no_such_setting=1"},
    "socket": lambda: {"host": "/no/such/folder"},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("use", ["query", "session", "raw", "warm", "engine"])
def test_a_failed_connect_shows_no_secret(settings, wrong, use):
    db = DatabaseConnectionManager(settings.replace(**WRONG[wrong]()))

    def session() -> None:
        with db.session_scope() as opened:
            opened.connection()

    uses = {
        "query": lambda: db.execute_query("SELECT 1"),
        "session": session,
        "raw": lambda: db.raw_connection().__enter__(),
        "warm": lambda: db.warm_up(),
        "engine": lambda: db.engine.connect(),
    }
    with pytest.raises(exc.OperationalError) as caught:
        uses[use]()
    db.close_connections()
    assert isinstance(caught.value.orig, psycopg2.OperationalError)
    assert CANARY not in everything_shown(caught.value)
    assert SSL_CANARY not in everything_shown(caught.value)


@pytest.mark.parametrize("form", ["mapping", "url"])
def test_bad_settings_show_no_secret(form):
    with pytest.raises(SettingsError) as caught:
        DatabaseConnectionManager(
            {"host": "localhost", "port": "abc", "password": CANARY}
            if form == "mapping"
            else f"postgresql://user:{CANARY}@localhost:abc/db"
        )
    assert CANARY not in everything_shown(caught.value)


def test_no_such_database_shows_no_secret(shared_database):
    real = make_url(shared_database).password
    with DatabaseConnectionManager(shared_database, min_size=0) as db:
        settings = db.settings.replace(database="no_such_database")
    with (
        DatabaseConnectionManager(settings) as db,
        pytest.raises(exc.OperationalError, match="does not exist") as caught,
    ):
        db.execute_query("SELECT 1")
    shown = everything_shown(caught.value)
    assert real
    # this test's own frame holds the URL; dbkit's must not
    assert real not in shown.replace(repr(shared_database), "").replace(repr(real), "", 1)


def test_the_detector_detects(settings):
    """The check above would see a password that the driver's own connect has in its frame."""
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect(**settings.connect_params(), password=settings.password.reveal())
    assert CANARY in everything_shown(caught.value)


def test_the_engine_shows_no_secret(settings):
    engine = build_engine(settings)
    for shown in (repr(engine), str(engine.url), engine.url.render_as_string(hide_password=False), repr(engine.url)):
        assert CANARY not in shown
        assert "sslpassword" not in shown
    assert engine.url.password is None
    creator = engine.pool._creator
    assert CANARY not in repr(creator) + str(creator) + f"{creator}"
    assert f"to {settings.target}" in repr(creator)
    engine.pool.close()


def test_several_hosts_reach_libpq_as_lists(shared_database):
    url = make_url(shared_database)
    settings = DatabaseSettings.load(
        {"host": f"127.0.0.1,{url.host}", "port": f"{free_port()},{url.port}", "user": url.username,
         "password": url.password, "database": url.database},
        env_file=None, min_size=0,
    )  # fmt: skip
    with DatabaseConnectionManager(settings) as db:  # the first host refuses, the second answers
        assert db.execute_query("SELECT inet_server_port()").scalar() == url.port
        assert "no_password" not in str(db.engine.url)


def test_a_socket_folder_reaches_libpq(server, shared_database):
    url = make_url(server.url(make_url(shared_database).database, socket=True))
    with DatabaseConnectionManager(url, min_size=0) as db:
        assert db.execute_query("SELECT inet_server_addr()").scalar() is None
        assert make_url(str(db.engine.url)).query["host"].startswith("/")
