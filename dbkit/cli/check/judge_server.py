"""Judges what a session has seen: role and state, room for the fleet, timeouts, clock, round trips. Pure."""

from __future__ import annotations

from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from dbkit.cli.check.findings import Finding, note, ok, problem, warning
from dbkit.core.policy import UNLIMITED

if TYPE_CHECKING:
    from dbkit.cli.check.facts import Facts, Server, SettingsFacts

OLDEST: Final = 13
"""The oldest version of PostgreSQL that its makers mended in 2025."""

CLOCK: Final = 2.0
"""Seconds by which two clocks may differ."""

SLOW: Final = 0.02
"""Seconds of a round trip from which on an application feels each statement."""

_FOR_STANDBYS: Final = ("standby", "read-only", "prefer-standby")


def judge_server(facts: Facts, server: Server) -> list[Finding]:
    """Version, role and state."""
    findings = []
    if server.version_number // 10000 < OLDEST:
        remedy = "Plan the upgrade of the server; its makers mend this version no more."
        findings.append(warning("version", f"PostgreSQL {server.version}.", remedy))
    else:
        findings.append(ok("version", f"PostgreSQL {server.version}."))
    if server.superuser:
        remedy = "Give the application a role of its own, which owns its tables and nothing else."
        says = f"The role {server.role} is a superuser: it may do everything, and it takes the slots kept for rescue."
        findings.append(warning("role", says, remedy))
    else:
        findings.append(ok("role", f"The role is {server.role}, no superuser."))
    return [*findings, _of_state(facts.settings.target_session_attrs, server)]


def _of_state(attrs: str | None, server: Server) -> Finding:
    if not (server.in_recovery or server.read_only):
        return ok("state", "The server takes writes.")
    kind = "a standby, which is read-only" if server.in_recovery else "read-only (default_transaction_read_only)"
    if attrs in _FOR_STANDBYS:
        return ok("state", f"The server is {kind}, as target_session_attrs={attrs} allows.")
    return problem(
        "state",
        f"The server is {kind}: every write fails with SQLSTATE 25006.",
        "Connect to the primary; or name all servers in host, with target_session_attrs=read-write. A pool with "
        "require_writer=True leaves a demoted server by itself. Where only reading is wanted, set "
        "target_session_attrs=prefer-standby."
        if server.in_recovery
        else "ALTER DATABASE (or ROLE) ... RESET default_transaction_read_only, if writes are wanted.",
    )


def judge_capacity(facts: Facts, server: Server) -> list[Finding]:
    """The fleet's budget: ``max_size`` times pools, against the room there is."""
    fleet, policy = facts.fleet, facts.settings.policy
    behind = facts.pooler is not None and facts.pooler.present
    room, of_what = room_for(server)
    count = f"{fleet.hosts} hosts x {fleet.processes} processes" if fleet.pools > 1 else "1 process"
    if policy.max_size >= UNLIMITED:
        says = f"max_size has no limit, and there is room for {room} connections ({of_what})."
        return [warning("capacity", says, f"Set max_size to {max(1, room // fleet.pools)} or less.")]
    need = policy.max_size * fleet.pools
    sum_ = f"max_size {policy.max_size} x {count} = {need} connections"
    if behind:
        says = f"{sum_}. A pooler stands between, and its own max_client_conn counts; the server has room for {room}."
        return [note("capacity", says)]
    if need > room:
        fits = room // fleet.pools
        remedy = (
            f"Set max_size to {fits} or less, raise max_connections, or put PgBouncer in between."
            if fits
            else f"Not even max_size=1 fits {fleet.pools} times: put PgBouncer in between, or raise max_connections."
        )
        return [problem("capacity", f"{sum_}, and there is room for {room} ({of_what}).", remedy)]
    left = room - server.sessions
    says = f"{sum_}, of {room} ({of_what}); {server.sessions} are taken now."
    if need > left:
        remedy = "If those are of this application, all is well. If they are others', lower max_size."
        return [note("capacity", says, remedy)]
    return [ok("capacity", says)]


def room_for(server: Server) -> tuple[int, str]:
    """How many connections this role may have in this database at most, and by which limit."""
    settings = server.settings
    reserved = settings.get("superuser_reserved_connections", 0) + settings.get("reserved_connections", 0)
    most = settings.get("max_connections", 0)
    rooms = [(most - reserved, f"max_connections {most} less {reserved} reserved")]
    if server.role_limit is not None and not server.superuser:
        rooms.append((server.role_limit, f"the role's CONNECTION LIMIT {server.role_limit}"))
    if server.database_limit is not None and not server.superuser:
        rooms.append((server.database_limit, f"the database's CONNECTION LIMIT {server.database_limit}"))
    return min(rooms)


def judge_timeouts(settings: SettingsFacts, server: Server) -> list[Finding]:
    """Timeouts of the server's that fight the pool's."""
    findings: list[Finding] = []
    policy = settings.policy
    seconds = {name: server.settings.get(name, 0) / 1000 for name in server.settings}
    idle = seconds.get("idle_session_timeout", 0)
    longest = min((number for number in (policy.keepalive, policy.max_lifetime) if number), default=float("inf"))
    if idle and idle <= longest:
        says = f"The server ends sessions idle for {idle:g} s (idle_session_timeout)"
        shown = "never" if longest == float("inf") else f"after {longest:g} s"
        remedy = f"Set keepalive to {max(1.0, idle / 2):g} or less, or idle_session_timeout to 0 for this role."
        findings.append(warning("timeouts", f"{says}, and the pool touches an idle connection {shown}.", remedy))
    for name, what in (
        ("idle_in_transaction_session_timeout", "ends a session that is idle in a transaction"),
        ("statement_timeout", "cancels a statement"),
        ("transaction_timeout", "ends a session whose transaction runs"),
    ):
        limit = seconds.get(name, 0)
        if 0 < limit < 1:
            remedy = f"Raise {name}: a pause of the network or the machine is longer than that."
            findings.append(warning("timeouts", f"The server {what} after {limit:g} s ({name}).", remedy))
        elif limit and policy.leak_after is not None and limit < policy.leak_after:
            remedy = f"Set leak_after below {limit:g}, so that the report comes first."
            says = (
                f"The server {what} after {limit:g} s ({name}), before leak_after ({policy.leak_after:g} s) reports it."
            )
            findings.append(note("timeouts", says, remedy))
    if not seconds.get("idle_in_transaction_session_timeout"):
        findings.append(
            note(
                "timeouts",
                "idle_in_transaction_session_timeout is 0: a forgotten transaction holds its locks for ever.",
                "ALTER ROLE ... SET idle_in_transaction_session_timeout = '5min', and set leak_after in the pool.",
            )
        )
    return findings or [ok("timeouts", "No timeout of the server's fights the pool's.")]


def judge_clock(server: Server) -> Finding:
    """Whether the two machines agree on the time."""
    ahead, precision = server.clock_ahead, server.clock_precision
    word = "ahead" if ahead > 0 else "behind"
    if abs(ahead) - precision > CLOCK:
        says = f"The server's clock is {abs(ahead):.1f} s {word} of this machine's."
        remedy = "Set both by NTP: tokens and certificates are judged by the clock, and so are timestamps."
        return warning("clock", says, remedy)
    return ok("clock", f"The clocks agree within {max(abs(ahead), precision) * 1000:.0f} ms.")


def judge_round_trips(facts: Facts) -> list[Finding]:
    """How far away the server is."""
    times = facts.round_trips
    if len(times) < 2:
        return []
    middle, slowest = median(times), quantiles(times, n=20)[-1]
    says = f"A round trip takes {_ms(middle)} (95 % within {_ms(slowest)}, {len(times)} measured)."
    if middle > SLOW:
        remedy = "Move the application nearer to the server, or ask for more with each statement."
        return [warning("round trip", says, remedy)]
    return [ok("round trip", says)]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.001 else f"{seconds * 1_000_000:.0f} us"
