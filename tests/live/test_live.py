"""A pool seen from outside: the endpoint, who asks it, and what travels between them."""

from __future__ import annotations

import gc
import json
import os
import socket
import stat
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import create_engine

from dbkit import DatabaseConnectionManager
from dbkit.live import LiveError, PoolView, ask, serve
from dbkit.live.endpoint import EndpointError

from ..pool.helpers import eventually, sqlalchemy_url


@pytest.fixture
def db(shared_database):
    with DatabaseConnectionManager(shared_database, min_size=0, max_size=3, leak_after=60) as manager:
        yield manager


@pytest.fixture
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("l") / "s"


def test_it_shows_the_pool_and_who_holds_its_connections(db, path):
    db.pool.start_profile(every=1)
    with serve(db, path, name="shop"), db.engine.connect():
        view = ask(str(path))
        assert ["test_it_shows_the_pool" in use.where for use in view.profile] == [True]
        assert (view.name, view.pid, view.in_use, view.max_size) == ("shop", os.getpid(), 1, 3)
        (holder,) = view.holders
        assert holder.thread == threading.current_thread().name
        assert "test_it_shows_the_pool" in holder.borrowed_at[0]
        assert view.use.count == 0
    with serve(db, path):
        view = ask(str(path))
        assert (view.in_use, view.use.count, view.borrows) == (0, 1, 1)
        assert ask(str(path.parent)).pid == view.pid  # a folder with one socket


def test_what_travels_arrives_as_it_was_and_what_is_no_pool_is_refused(db):
    db.pool.start_profile(every=1)
    with db.engine.connect():
        view = PoolView.of(db.stats(), db.pool.holders(), name="é", pid=7, profile=db.pool.profile())
    assert len(view.profile) == len(view.holders) == 1
    assert PoolView.from_dict(json.loads(json.dumps(view.to_dict()))) == view
    assert PoolView.from_dict({**view.to_dict(), "new": 1}) == view
    for wrong in (
        None,
        [],
        {},
        {"format": 2},
        {"format": 1},
        {**view.to_dict(), "wait": 3},
        {**view.to_dict(), "size": "x"},
    ):
        with pytest.raises(ValueError, match="picture of a pool"):
            PoolView.from_dict(wrong)


def test_it_is_private_and_goes_with_close(db, path):
    endpoint = serve(db, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "open" in repr(endpoint)
    endpoint.close()
    endpoint.close()
    assert not path.exists()
    assert "closed" in repr(endpoint)
    with pytest.raises(LiveError, match="does not answer"):
        ask(str(path))


def test_it_ends_with_the_engine(shared_database, path):
    threads = threading.active_count()
    engine = create_engine(sqlalchemy_url(shared_database), poolclass=type_of_pool(), min_size=0)
    serve(engine, path)
    engine.dispose()
    assert ask(str(path)).size == 0  # the pool that took the other's place
    engine.dispose()
    del engine
    gc.collect()
    eventually(lambda: not path.exists() and threading.active_count() <= threads)


def type_of_pool():
    from dbkit import ElasticPool

    return ElasticPool


def test_what_a_dead_process_left_is_replaced_and_nothing_else(db, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serve(db, path), pytest.raises(EndpointError, match="another process answers"):
        serve(db, path)
    path.write_text("mine")
    with pytest.raises(EndpointError, match="no socket"):
        serve(db, path)
    assert path.read_text() == "mine"
    with pytest.raises(EndpointError, match="folder must exist"):
        serve(db, path.parent / "none" / "s")


def test_only_an_elastic_pool_is_shown(shared_database, path):
    engine = create_engine(sqlalchemy_url(shared_database))
    with pytest.raises(TypeError, match="QueuePool"):
        serve(engine, path)
    engine.dispose()


def talk(path, sent):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while more := client.recv(65536):
            answer += more
        return answer


def test_it_is_read_only_and_survives_odd_clients(db, path):
    with serve(db, path):
        assert talk(path, b"POST /pool HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 405")
        assert talk(path, b"GET /secrets HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 404")
        assert talk(path, b"") == b""
        assert talk(path, b"\xff" * 8192).startswith(b"HTTP/1.0 405")
        assert ask(str(path)).size == 0


def test_a_forked_child_opens_its_own_and_leaves_the_parents(db, path):
    with serve(db, path):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                serve(db, path.with_suffix(".child"))
                code = 0 if ask(str(path.with_suffix(".child"))).pid == os.getpid() else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ask(str(path)).pid == os.getpid()


@contextmanager
def web(status, body):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/db/pool?x=secret", seen
        finally:
            server.shutdown()
            thread.join()


def test_over_http_with_a_token(db):
    view = PoolView.of(db.stats(), (), name="", pid=1)
    with web(200, json.dumps(view.to_dict())) as (url, seen):
        assert ask(url, token="t") == view
        assert seen == [("/db/pool?x=secret", "Bearer t")]
    with web(401, '{"error": "no token"}') as (url, _), pytest.raises(LiveError, match="401: no token") as refused:
        ask(url)
    assert "secret" not in str(refused.value)
    with web(200, "<html>") as (url, _), pytest.raises(LiveError, match="something else than a pool"):
        ask(url)
