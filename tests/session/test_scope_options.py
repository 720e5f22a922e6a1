"""What a scope asks for holds in each of its transactions, and for nobody after it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context

import pytest
from sqlalchemy import event, exc, text

from dbkit import SettingsError


def show(session, name) -> str:
    return session.scalar(text(f"SHOW {name}"))


def test_a_scope_may_be_read_only(db, table):
    with pytest.raises(exc.DBAPIError, match="read-only"), db.session_scope(read_only=True) as session:
        session.execute(text(f"INSERT INTO {table} VALUES (1, 'x')"))
    with db.session_scope() as session:
        session.execute(text(f"INSERT INTO {table} VALUES (1, 'x')"))
    assert db.stats().opens == 1


@pytest.mark.parametrize("level", ["SERIALIZABLE", "repeatable read", "REPEATABLE_READ"])
def test_a_scope_has_its_isolation_level_in_each_transaction(db, level):
    with db.session_scope(isolation_level=level) as session:
        for _ in range(2):
            assert show(session, "transaction_isolation") == level.lower().replace("_", " ")
            session.commit()
    with db.session_scope() as session:
        assert show(session, "transaction_isolation") == "read committed"


def test_a_scope_limits_its_statements(db):
    with pytest.raises(exc.OperationalError, match="statement timeout"), db.session_scope(timeout=0.2) as session:
        session.execute(text("SELECT pg_sleep(100)"))
    with db.session_scope(timeout=60) as session:
        for _ in range(2):
            assert (show(session, "statement_timeout"), show(session, "lock_timeout")) == ("1min", "1min")
            session.commit()
    with db.session_scope() as session:
        assert (show(session, "statement_timeout"), show(session, "lock_timeout")) == ("0", "0")


def test_the_limit_of_a_scope_outlives_a_savepoint(db):
    with db.session_scope(timeout=60) as session:
        with session.begin_nested():
            pass
        assert show(session, "statement_timeout") == "1min"


def test_a_limit_and_settings_are_told_in_one_round_trip(db):
    sent = []
    event.listen(db.engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: sent.append(statement))
    with db.session_scope(timeout=60, settings={"app.tenant_id": "5", "lock_timeout": "7s"}) as session:
        session.execute(text("SELECT 1"))
        assert len(sent) == 2
        assert [show(session, name) for name in ("statement_timeout", "lock_timeout", "app.tenant_id")] == [
            "1min", "7s", "5",
        ]  # fmt: skip
    assert db.execute_query("SHOW statement_timeout").scalar() == "0"


def test_settings_hold_for_the_scope_alone(db):
    nasty = "5'; DROP TABLE x; -- %s :y"
    with db.session_scope(settings={"app.tenant_id": nasty, "app.number": 5, "app.flag": True}) as session:
        for _ in range(2):
            assert show(session, "app.tenant_id") == nasty
            assert (show(session, "app.number"), show(session, "app.flag")) == ("5", "on")
            session.commit()
    assert not db.execute_query("SELECT current_setting('app.tenant_id', true)").scalar()


@pytest.mark.parametrize(
    "asked",
    [
        {"isolation_level": "SERIALISABLE"},
        {"isolation_level": "AUTOCOMMIT"},
        {"timeout": 0},
        {"settings": {"a b": "1"}},
        {"settings": {"x'; --": "1"}},
        {"settings": {"app.x": None}},
        {"settings": "role"},
        {"nested": True, "timeout": 1},
        {"nested": True, "read_only": True},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_happens(db, asked):
    with pytest.raises(exc.ArgumentError), db.session_scope(**asked):
        pytest.fail("the block ran")
    assert db.stats().opens == 0


def test_a_timeout_that_is_none_is_refused(db):
    with pytest.raises(SettingsError, match="timeout"), db.session_scope(timeout=-1):
        pytest.fail("the block ran")


def test_a_session_is_of_no_use_after_its_block(db, table):
    with db.session_scope() as session:
        session.execute(text("SELECT 1"))
    with pytest.raises(exc.InvalidRequestError):
        session.execute(text(f"INSERT INTO {table} VALUES (1, 'lost')"))
    assert db.stats().in_use == 0


# ---- scopes within scopes


def ids(db, table):
    return db.execute_query(f"SELECT id FROM {table} ORDER BY id").scalars()


def insert(session, table, key) -> None:
    session.execute(text(f"INSERT INTO {table} VALUES (:id, 'x')"), {"id": key})


def test_a_nested_scope_is_a_savepoint_of_the_outer_one(db, table):
    with db.session_scope() as outer:
        insert(outer, table, 1)
        with pytest.raises(ValueError), db.session_scope(nested=True) as inner:
            assert inner is outer
            insert(inner, table, 2)
            raise ValueError
        with db.session_scope(nested=True) as inner:
            insert(inner, table, 3)
    assert ids(db, table) == (1, 3)


def test_a_nested_scope_without_an_outer_one_is_a_scope(db, table):
    with db.session_scope(nested=True) as session:
        insert(session, table, 1)
    assert ids(db, table) == (1,)


def test_only_the_same_thread_and_manager_are_joined(managers, driver):
    db, other = managers(driver, max_size=2), managers(driver)
    found = []

    def join(manager):
        with manager.session_scope(nested=True) as session:
            found.append(session)

    with db.session_scope() as outer:
        join(db)
        join(other)
        thread = threading.Thread(target=copy_context().run, args=(join, db))
        thread.start()
        thread.join()
    assert [session is outer for session in found] == [True, False, False]
    join(db)
    assert found[-1] is not outer


# ---- settings for all


def test_settings_for_all_scopes_are_asked_for_at_each_transaction(db):
    tenant = ContextVar("tenant", default="none")
    db.settings_for(lambda: {"app.tenant_id": tenant.get(), "app.other": "all"})
    with db.session_scope(settings={"app.other": "mine"}) as session:
        assert (show(session, "app.tenant_id"), show(session, "app.other")) == ("none", "mine")
        session.commit()
        tenant.set("7")
        assert show(session, "app.tenant_id") == "7"
    with db.sessions() as session:
        assert show(session, "app.tenant_id") == "7"
    db.settings_for(None)
    with db.session_scope() as session:
        assert not session.scalar(text("SELECT current_setting('app.tenant_id', true)"))


def test_row_level_security_keeps_sixteen_tenants_apart(managers, driver, database):
    db = managers(driver, url=database, max_size=4)
    for command in (
        "CREATE ROLE dbkit_reader NOLOGIN",
        "CREATE TABLE note (tenant text, body text)",
        "GRANT ALL ON note TO dbkit_reader",
        "ALTER TABLE note ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON note USING (tenant = current_setting('app.tenant_id'))",
    ):
        db.execute_query(command)
    tenant = ContextVar("tenant")
    db.settings_for(lambda: {"app.tenant_id": tenant.get(), "role": "dbkit_reader"})

    def work(mine: str) -> list[set[str]]:
        tenant.set(mine)
        seen = []
        for number in range(4):
            with db.session_scope() as session:
                session.execute(text("INSERT INTO note VALUES (:me, :n)"), {"me": mine, "n": str(number)})
            with db.session_scope(read_only=True) as session:
                seen.append(set(session.scalars(text("SELECT tenant FROM note"))))
        return seen

    names = [f"tenant {number}" for number in range(16)]
    try:
        with ThreadPoolExecutor(16) as threads:
            seen = list(threads.map(work, names))
        assert seen == [[{name}] * 4 for name in names]
        assert db.execute_query("SELECT count(*) FROM note").scalar() == 64  # the owner again, and no tenant
        tenant.set("tenant 1")
        with pytest.raises(exc.DBAPIError, match="row-level security"), db.session_scope() as session:
            session.execute(text("INSERT INTO note VALUES ('tenant 2', 'forged')"))
    finally:
        db.settings_for(None)
        db.execute_query("DROP TABLE note")
        db.execute_query("DROP ROLE dbkit_reader")
