"""Facts in which all is well, to change one thing of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dbkit.cli.check.facts import (
    Certificate,
    Facts,
    Fleet,
    Host,
    Knock,
    Login,
    Migrations,
    Pooler,
    Server,
    SettingsFacts,
)
from dbkit.core.policy import PoolPolicy
from dbkit.settings.shown import Row

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CERTIFICATE = Certificate(
    subject="CN=db", issuer="CN=ca", begins=NOW - timedelta(days=300), ends=NOW + timedelta(days=60), names=("db",)
)
SETTINGS = SettingsFacts(
    target="app@db:5432/shop",
    rows=(Row("host", "'db'", "URL"), Row("password", "***", "URL"), Row("max_size", "10", "default")),
    remarks=(),
    policy=PoolPolicy(),
    sslmode="verify-full",
    network_timeout=30,
)
SERVER = Server(
    version="18.1", version_number=180001, role="app", superuser=False, in_recovery=False, read_only=False,
    encrypted="TLSv1.3", role_limit=None, database_limit=None, sessions=5, clock_ahead=0.001, clock_precision=0.001,
    settings={
        "max_connections": 100, "superuser_reserved_connections": 3, "reserved_connections": 0,
        "idle_session_timeout": 0, "idle_in_transaction_session_timeout": 300_000, "statement_timeout": 0,
    },
)  # fmt: skip
KNOCK = Knock(address="10.0.0.5", offers_tls=True, certificate=CERTIFICATE, tls="TLSv1.3")
FACTS = Facts(
    settings=SETTINGS,
    fleet=Fleet(),
    now=NOW,
    hosts=(Host(name="db", port=5432, knocks=(KNOCK,)),),
    login=Login(seconds=0.02),
    server=SERVER,
    pooler=Pooler(present=False),
    migrations=Migrations(config="alembic.ini", applied=3),
    round_trips=(0.0001,) * 20,
)


def at_door(**changes: Any) -> Facts:
    """The facts with another knock at the only address."""
    return replace(FACTS, hosts=(Host(name="db", port=5432, knocks=(replace(KNOCK, **changes),)),))


def by_settings(**changes: Any) -> Facts:
    """The facts with other settings."""
    return replace(FACTS, settings=replace(SETTINGS, **changes))


def on_server(**changes: Any) -> Facts:
    """The facts with another server; ``settings`` are added to the server's own."""
    settings = {**SERVER.settings, **changes.pop("settings", {})}
    return replace(FACTS, server=replace(SERVER, settings=settings, **changes))


def failed(error: str, *, timed_out: bool = False, facts: Facts = FACTS) -> Facts:
    """The facts with a login that failed."""
    return replace(facts, login=Login(seconds=1, error=error, timed_out=timed_out), server=None, pooler=None)
