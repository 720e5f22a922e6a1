"""The judges in order: settings, doors, login, then what only a session can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbkit.cli.check.explain_login import explain
from dbkit.cli.check.findings import Finding, note, ok, problem
from dbkit.cli.check.judge_doors import judge_doors, judge_tls
from dbkit.cli.check.judge_server import judge_capacity, judge_clock, judge_round_trips, judge_server, judge_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbkit.cli.check.facts import Facts, Migrations, Pooler
    from dbkit.errors import Fault


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Everything there is to say about the facts, in the order in which a connection meets it."""
    findings = [*judge_settings(facts), *judge_doors(facts), *judge_tls(facts)]
    if facts.login is None:
        return tuple(findings)
    if facts.login.error is not None:
        return (*findings, explain(facts))
    findings.append(ok("login", f"Logged in to {facts.settings.target} in {facts.login.seconds * 1000:.0f} ms."))
    if facts.server_error is not None:
        remedy = "The session opened, and then this. Try again; read the server's log."
        findings.append(problem("server", facts.server_error, remedy))
    if facts.server is not None:
        findings += judge_server(facts, facts.server)
        if facts.pooler is not None:
            findings.append(judge_pooler(facts.pooler))
        findings += judge_capacity(facts, facts.server)
        findings += judge_timeouts(facts.settings, facts.server)
        findings.append(judge_clock(facts.server))
    if facts.migrations is not None:
        findings.append(judge_migrations(facts.migrations))
    findings += judge_round_trips(facts)
    return tuple(findings)


def judge_faults(faults: Iterable[Fault]) -> tuple[Finding, ...]:
    """Settings that could not be used at all; nothing was tried."""
    remedy = "Correct the setting where it stands; `.env.example` names them all."
    return tuple(problem("settings", str(fault), remedy) for fault in faults)


def judge_settings(facts: Facts) -> list[Finding]:
    """Near misses, and settings that do not do what they promise."""
    settings = facts.settings
    findings = [note("settings", remark) for remark in settings.remarks]
    if settings.network_timeout == 0:
        findings.append(
            note(
                "settings",
                "network_timeout is 0: a query on a network that falls silent waits for hours.",
                "Leave network_timeout at its default of 30 s.",
            )
        )
    if not findings:
        count = sum(row.origin not in ("default", "libpq") for row in settings.rows)
        findings.append(ok("settings", f"{count} settings are given, and nothing looks like a slip of the pen."))
    return findings


def judge_pooler(pooler: Pooler) -> Finding:
    """PgBouncer and its like."""
    if not pooler.present:
        return ok("pooler", "Nothing stands between: each connection is a session of its own.")
    if pooler.mode == "transaction":
        return note(
            "pooler",
            "A pooler such as PgBouncer stands between, in mode transaction: what a session sets, the next one sees; "
            "LISTEN, session locks and SET do not hold.",
            "Use SET LOCAL (session_scope(settings=...)), and set DB_MIGRATION_URL to the server itself.",
        )
    return note(
        "pooler",
        "A pooler such as PgBouncer stands between. Nothing speaks against mode session; a client cannot be sure.",
        "Ask for pool_mode in pgbouncer.ini. In mode session two pools in a row gain nothing but a maximum.",
    )


def judge_migrations(migrations: Migrations) -> Finding:
    """Where the database is."""
    if migrations.config is None:
        return note("migrations", "There is no alembic.ini here, so nothing is known of migrations. Else: --config.")
    if migrations.error is not None:
        return problem("migrations", migrations.error, "Until this is mended, do not migrate.")
    if not migrations.pending:
        return ok("migrations", f"The database has all {migrations.applied} revisions.")
    applied, pending = migrations.applied, len(migrations.pending)
    state = f"has {applied} of {applied + pending} revisions" if applied else "was never migrated"
    few = ", ".join(migrations.pending[:3]) + (f" and {pending - 3} more" if pending > 3 else "")
    remedy = "db.migrate(), or `alembic upgrade head`."
    return problem("migrations", f"The database {state}; pending: {few}.", remedy)
