"""Credentials at work: real logins, rejected, renewed, rotated under load; and refused where they must not go."""

from __future__ import annotations

import gc
import logging
import threading
import time

import psycopg2
import pytest
from sqlalchemy import exc, text

from dbkit import DatabaseConnectionManager, PoolTimeoutError, SettingsError
from dbkit.credentials import CredentialError, FileCredential, Token
from dbkit.credentials.remote import RemoteCredential

from ..pool.helpers import Task, eventually
from ..shown import everything_shown
from .broker import CANARY, FAR, Load, whoami

# ---- one choke point


def test_everything_logs_in_with_the_credential(broker):
    with broker.manager(warm=True, min_size=2) as db:
        assert whoami(db) == broker.role
        with db.session_scope() as session:
            assert session.scalar(text("SELECT current_user")) == broker.role
        with db.raw_connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (broker.role,)
        assert broker.asked == 1  # two connects, one token


def test_a_string_is_asked_for_at_each_connect(broker):
    asked = []

    def password():
        asked.append(1)
        return broker.token().value.reveal()

    with broker.manager(password, min_size=3, max_size=3, warm=True) as db:
        assert whoami(db) == broker.role
        assert len(asked) <= 3
        broker.rotate()
        db.rotate()
        eventually(lambda: db.stats().opens == 6 and db.stats().size == 3)
        assert db.stats().open_failures == 0


def test_a_file_that_changes(broker, tmp_path):
    file = tmp_path / "token"
    file.write_text(broker.token().value.reveal())
    with broker.manager(FileCredential(file)) as db:
        assert whoami(db) == broker.role
        broker.rotate()
        file.write_text(broker.token().value.reveal())
        db.engine.dispose()
        assert whoami(db) == broker.role


# ---- rejected


def test_a_rejected_token_is_replaced_and_nobody_notices(broker, caplog):
    with broker.manager() as db, caplog.at_level(logging.INFO, "dbkit"):
        with db.engine.connect() as held:
            broker.rotate()
            assert whoami(db) == broker.role  # another connection, with another token
            assert held.scalar(text("SELECT 1")) == 1  # logged in before: lives on
        assert broker.asked == 2
        assert db.stats().open_failures == 0
        assert "rejected the login" in caplog.text
        assert CANARY not in caplog.text


def test_a_token_that_expired_on_the_server(broker):
    with broker.manager(broker.issue) as db, db.engine.connect():
        broker.expire()
        assert whoami(db) == broker.role
        assert broker.asked == 2


def test_a_rejection_for_good_is_the_servers_error(broker):
    with broker.manager(lambda: Token(f"{CANARY}-wrong", FAR)) as db:
        with pytest.raises(exc.OperationalError, match="password authentication failed") as caught:
            whoami(db)
        assert isinstance(caught.value.orig, psycopg2.OperationalError)
        assert CANARY not in everything_shown(caught.value)


def test_a_rejection_and_a_provider_that_fails(broker):
    given = iter([Token(f"{CANARY}-wrong", FAR)])

    def once():
        try:
            return next(given)
        except StopIteration:
            raise RuntimeError("the provider is down") from None

    with broker.manager(once) as db:
        with pytest.raises(CredentialError, match="the provider is down") as caught:
            whoami(db)
        assert isinstance(caught.value, exc.OperationalError)
        assert CANARY not in everything_shown(caught.value)


def test_a_login_that_worked_and_is_rejected_for_good(broker, monkeypatch):
    monkeypatch.setattr("dbkit.connector.GRACE", (0.01, 0.01, 0.01))
    monkeypatch.setattr("dbkit.credentials.remote.FUTILE", 0.0)
    with broker.manager() as db:
        whoami(db)
        broker.admin.rows(f"ALTER ROLE {broker.role} PASSWORD NULL")
        db.engine.dispose()
        with pytest.raises(exc.OperationalError, match="password authentication failed"):
            whoami(db)
        assert broker.asked == 1 + 1 + 3
        with pytest.raises(exc.OperationalError, match="password authentication failed"):
            whoami(db)  # told at once, from now on
        assert broker.asked == 1 + 1 + 3 + 1


def test_a_borrower_that_waits_while_a_login_is_tried_again_is_told_so(broker, monkeypatch):
    monkeypatch.setattr("dbkit.connector.GRACE", (3.0,))
    with broker.manager() as db:
        whoami(db)
        broker.admin.rows(f"ALTER ROLE {broker.role} PASSWORD NULL")
        db.engine.dispose()
        first = Task(whoami, db)
        eventually(db.pool._creator.pending)
        with pytest.raises(PoolTimeoutError, match="rejected the login, which is tried again"):
            db.pool.borrow(0.1)
        with pytest.raises(exc.OperationalError, match="password authentication failed"):
            first.outcome()


def test_a_fixed_password_that_is_rejected_is_not_tried_again(broker, monkeypatch):
    monkeypatch.setattr("dbkit.connector.GRACE", ("nobody waits for this",))
    broker.address["password"] = broker.token().value.reveal()
    with DatabaseConnectionManager(broker.address, min_size=0) as db:
        whoami(db)
        broker.rotate()
        db.engine.dispose()
        with pytest.raises(exc.OperationalError, match="password authentication failed"):
            whoami(db)


def test_what_is_no_rejection_asks_nobody_again(broker):
    broker.address["database"] = "no_such_database"
    with broker.manager() as db:
        with pytest.raises(exc.OperationalError, match="does not exist"):
            whoami(db)
        assert broker.asked == 1


# ---- bounded


class Hanging(RemoteCredential):
    def __init__(self):
        super().__init__(timeout=30)
        self.gate = threading.Event()

    def fetch(self):
        self.gate.wait(60)
        return "too late"


def test_a_hanging_provider_is_bounded_by_the_borrowers_deadline(broker):
    provider = Hanging()
    with broker.manager(provider, timeout=0.3) as db:
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError, match=r"Hanging was asked .* and has not answered yet"):
            whoami(db)
        assert 0.3 <= time.monotonic() - began < 10
        provider.gate.set()


# ---- rotated under load


def test_ten_rotations_on_demand_under_load(broker):
    with broker.manager(broker.issue, max_size=8) as db:
        load = Load(db)
        load.goes_on()
        for _ in range(10):
            before = broker.sessions()
            db.rotate()
            eventually(lambda before=before: before.isdisjoint(broker.sessions()), 30)
            load.goes_on()
        load.stop()
        assert load.errors == []
        assert broker.asked == 11  # one to begin with, one for each rotation
        assert db.stats().open_failures == 0


def test_ten_rotations_that_only_the_server_knows_of_under_load(broker):
    with broker.manager(max_size=8) as db:
        load = Load(db)
        load.goes_on()
        for number in range(1, 11):
            broker.rotate()
            db.pool.drain()  # so that there are connects, with the token of before
            eventually(lambda number=number: broker.asked == number + 1, 30)
            load.goes_on()
        load.stop()
        assert load.errors == []
        assert broker.asked == 11
        assert db.stats().open_failures == 0


@pytest.mark.parametrize("first", ["server", "provider"])
def test_a_rotation_in_two_steps_under_load(broker, first):
    """Between the two steps every login is rejected, and no borrower notices."""
    with broker.manager(max_size=8) as db:
        load = Load(db)
        load.goes_on()
        for number in range(3):
            ahead = f"{CANARY}-ahead-{number}"
            steps = [
                lambda ahead=ahead: broker.admin.rows(f"ALTER ROLE {broker.role} PASSWORD '{ahead}'"),
                lambda ahead=ahead: setattr(broker, "_token", ahead),
            ]
            steps = steps if first == "server" else steps[::-1]
            steps[0]()
            if first == "provider":
                broker.end += 1
                Task(db.rotate)  # fetches the one the server does not know yet
            else:
                db.pool.drain()
            asked = broker.asked
            eventually(lambda asked=asked: broker.asked > asked, 30)  # somebody was rejected, or is about to be
            steps[1]()
            load.goes_on()
            eventually(lambda: not db.pool._ledger.draining, 30)
        load.stop()
        assert load.errors == []
        assert db.stats().open_failures == 0


def test_a_hundred_threads_at_expiry_cost_one_fetch(broker):
    with broker.manager(max_size=20) as db:
        tasks = [Task(whoami, db) for _ in range(100)]
        assert {task.outcome(30) for task in tasks} == {broker.role}
        assert broker.asked == 1


def test_a_rotation_without_a_token_changes_nothing(broker):
    working = [True]

    def token():
        if not working[0]:
            raise RuntimeError("down")
        return broker.token()

    with broker.manager(token) as db:
        whoami(db)
        opens = db.stats().opens
        working[0] = False
        with pytest.raises(CredentialError, match="down"):
            db.rotate()
        assert whoami(db) == broker.role
        assert db.stats().opens == opens


def test_rotate_with_a_fixed_password_replaces_the_connections(shared_database):
    with DatabaseConnectionManager(shared_database, min_size=2, max_size=2, warm=True) as db:
        db.rotate()
        eventually(lambda: db.stats().opens == 4 and db.stats().idle == 2)


# ---- nothing shows


def test_no_secret_in_whatever_can_be_looked_at(broker, caplog):
    caplog.set_level(logging.DEBUG)
    with broker.manager(min_size=1, engine_options={"echo": "debug", "echo_pool": "debug"}) as db:
        whoami(db)
        broker.rotate()
        db.rotate()
        eventually(lambda: db.stats().opens == 2)
        looked_at = [
            repr(db), repr(db.engine), str(db.engine.url), repr(db.engine.url), db.pool.status(), repr(db.pool),
            repr(db.stats()), repr(db.settings), db.settings.describe(), repr(db.pool._creator), repr(vars(db)),
            db.engine.url.render_as_string(hide_password=False), repr(db.pool.holders()),
        ]  # fmt: skip
        assert CANARY not in "".join(looked_at) + caplog.text


@pytest.mark.parametrize("where", ["token", "connect_args"])
def test_text_that_cannot_be_sent_is_not_shown(broker, where):
    token = Token(f"{CANARY}\udcff" if where == "token" else CANARY, FAR)
    options = {"connect_args": {"application_name": "\ud800"}} if where == "connect_args" else {}
    with broker.manager(lambda: token, engine_options=options) as db:
        with pytest.raises(CredentialError if where == "token" else SettingsError, match="not valid UTF-8") as caught:
            whoami(db)
        assert CANARY not in everything_shown(caught.value)


def test_a_connects_own_error_keeps_its_cause_and_no_frames(broker):
    class Own(psycopg2.extensions.connection):
        def __init__(self, dsn, *more):
            kept_in_this_frame = dsn  # noqa: F841 - where an error tracker would find it
            try:
                raise KeyError("deeper")
            except KeyError as error:
                raise psycopg2.OperationalError("no such luck") from error

    options = {"connect_args": {"connection_factory": Own}}
    with broker.manager(engine_options=options) as db, pytest.raises(exc.OperationalError, match="luck") as caught:
        whoami(db)
    assert isinstance(caught.value.orig.__cause__, KeyError)
    assert CANARY not in everything_shown(caught.value)


def test_a_credential_of_somebody_elses_with_all_three_methods(broker):
    class Theirs:
        def current(self):
            return broker.token().value.reveal()

        def renewed(self, rejected):
            return self.current()

        def refresh(self):
            pass

    with broker.manager(Theirs()) as db:
        assert whoami(db) == broker.role


def test_nothing_is_left_of_a_manager_that_is_gone(broker):
    provider = broker.token
    db = broker.manager(provider)
    whoami(db)
    db.close_connections()
    del db
    gc.collect()
    eventually(lambda: not broker.sessions())
