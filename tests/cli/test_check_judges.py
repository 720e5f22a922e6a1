"""What the judges make of facts: pure, no server."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from dbkit.cli.check.facts import Fleet, Host, Knock, Migrations, Pooler
from dbkit.cli.check.findings import Mark, exit_code, problem, warning
from dbkit.cli.check.judge import judge, judge_faults
from dbkit.cli.check.judge_server import room_for
from dbkit.cli.check.report import as_json, histogram, render, summary
from dbkit.core.policy import UNLIMITED, PoolPolicy
from dbkit.errors import Fault

from .some_facts import CERTIFICATE, FACTS, KNOCK, NOW, SERVER, at_door, by_settings, failed, on_server


def found(facts, check):
    return [each for each in judge(facts) if each.check == check]


def test_where_all_is_well_nothing_is_said_against_it():
    findings = judge(FACTS)
    assert {each.mark for each in findings} == {Mark.OK}
    assert [each.check for each in findings] == [
        "settings", "name", "port", "tls", "certificate", "login", "version", "role", "state", "pooler", "capacity",
        "timeouts", "clock", "migrations", "round trip",
    ]  # fmt: skip
    assert (exit_code(findings), summary(findings)) == (0, "All is well.")


NO_SOCKET = Host(name="/run", port=1, knocks=(Knock(address="/run/.s.PGSQL.1", error="No such file"),))


def shown_until(ends):
    return at_door(certificate=replace(CERTIFICATE, ends=ends))


def migrated(**known):
    return replace(FACTS, migrations=Migrations(config="a", **known))


def behind(mode):
    return replace(FACTS, pooler=Pooler(present=True, mode=mode))


CHANGED = [
    (at_door(error="Connection refused"), "port", Mark.PROBLEM, "refused", "Nobody listens"),
    (at_door(error="no answer in time"), "port", Mark.PROBLEM, "no answer", "firewall"),
    (at_door(error="Network is unreachable"), "port", Mark.PROBLEM, "unreachable", "VPN"),
    (at_door(silent=True), "port", Mark.NOTE, "said nothing", ""),
    (at_door(offers_tls=False, certificate=None), "tls", Mark.PROBLEM, "no TLS", "Turn on ssl"),
    (shown_until(NOW), "certificate", Mark.PROBLEM, "ended on 2026-06-01", "Renew"),
    (shown_until(NOW + timedelta(days=9)), "certificate", Mark.WARNING, "9 days", "Renew"),
    (at_door(certificate=replace(CERTIFICATE, begins=NOW + timedelta(1))),
     "certificate", Mark.PROBLEM, "begins", "clock"),
    (replace(FACTS, hosts=(Host(name="db", port=1, name_error="unknown"),)), "name", Mark.PROBLEM, "no address", "DNS"),
    (replace(FACTS, hosts=()), "host", Mark.NOTE, "libpq's own default", ""),
    (replace(by_settings(service="prod"), hosts=()), "host", Mark.NOTE, "service prod", ""),
    (replace(FACTS, hosts=(NO_SOCKET,)), "port", Mark.PROBLEM, "No such file", "folder"),
    (by_settings(sslmode="disable"), "tls", Mark.WARNING, "unencrypted", "verify-full"),
    (by_settings(sslmode="verify-ca"), "tls", Mark.NOTE, "any certificate of that CA", "verify-full"),
    (by_settings(sslmode=None), "tls", Mark.NOTE, "any server that answers", "verify-full"),
    (by_settings(network_timeout=0), "settings", Mark.NOTE, "waits for hours", "network_timeout"),
    (by_settings(remarks=("DB_PASS is not read",)), "settings", Mark.NOTE, "DB_PASS", ""),
    (on_server(version_number=120009, version="12.9"), "version", Mark.WARNING, "12.9", "upgrade"),
    (on_server(superuser=True), "role", Mark.WARNING, "superuser", "role of its own"),
    (on_server(in_recovery=True), "state", Mark.PROBLEM, "25006", "primary"),
    (on_server(read_only=True), "state", Mark.PROBLEM, "25006", "RESET default_transaction_read_only"),
    (on_server(clock_ahead=-4.0), "clock", Mark.WARNING, "4.0 s behind", "NTP"),
    (on_server(settings={"idle_session_timeout": 60_000}), "timeouts", Mark.WARNING, "60 s", "keepalive to 30"),
    (on_server(settings={"idle_in_transaction_session_timeout": 0}), "timeouts", Mark.NOTE, "for ever", "ALTER ROLE"),
    (on_server(settings={"statement_timeout": 500}), "timeouts", Mark.WARNING, "0.5 s", "Raise statement_timeout"),
    (behind("transaction"), "pooler", Mark.NOTE, "transaction", "DB_MIGRATION_URL"),
    (behind("session"), "pooler", Mark.NOTE, "cannot be sure", "pool_mode"),
    (replace(FACTS, migrations=Migrations(config=None)), "migrations", Mark.NOTE, "no alembic.ini", ""),
    (migrated(error="env.py would"), "migrations", Mark.PROBLEM, "would", "not migrate"),
    (migrated(applied=1, pending=("two",)), "migrations", Mark.PROBLEM, "1 of 2 revisions; pending: two", "head"),
    (replace(FACTS, round_trips=(0.05,) * 9), "round trip", Mark.WARNING, "50.0 ms", "nearer"),
    (replace(FACTS, server=None, server_error="canceled"), "server", Mark.PROBLEM, "canceled", "log"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "check", "mark", "says", "remedy"), CHANGED)
def test_each_fault_has_its_mark_and_its_remedy(facts, check, mark, says, remedy):
    (finding,) = found(facts, check)
    assert finding.mark is mark
    assert says in finding.says
    assert remedy in finding.remedy
    assert bool(finding.remedy) or mark in (Mark.NOTE, Mark.OK)


LOGINS = {
    'FATAL:  password authentication failed for user "app"': "user and password",
    "fe_sendauth: no password supplied": "DB_PASSWORD",
    'FATAL:  role "app" does not exist': "CREATE ROLE",
    'FATAL:  database "shop" does not exist': "createdb",
    'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "app", database "shop", no encryption': "pg_hba.conf",
    "server does not support SSL, but SSL was required": "Turn on ssl",
    "SSL error: certificate verify failed": "sslrootcert",
    'server certificate for "elsewhere" does not match host name "db"': "by a name",
    "FATAL:  sorry, too many clients already": "53300",
    'FATAL:  too many connections for role "app"': "53300",
    "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute": "53300",
    "FATAL:  the database system is starting up": "Wait",
    "session is read-only": "target_session_attrs",
    "server closed the connection unexpectedly": "pool_mode=statement",
    "Connection refused": "correct host and port",
    "FATAL:  etwas ganz anderes": "server's log",
}


@pytest.mark.parametrize("said", LOGINS)
def test_a_login_that_failed_is_explained(said):
    findings = judge(failed(f'connection to server at "db", port 5432 failed: {said}'))
    assert (findings[-1].check, findings[-1].mark) == ("login", Mark.PROBLEM)
    assert " ".join(said.split()) in findings[-1].says
    assert LOGINS[said] in findings[-1].remedy


def test_what_an_expired_certificate_and_a_silent_server_did_to_the_login_is_said():
    expired = shown_until(NOW)
    (finding,) = found(failed("SSL error: certificate verify failed", facts=expired), "login")
    assert "ended on 2026-06-01" in finding.says
    (finding,) = found(failed("no answer within 5 s", timed_out=True, facts=at_door(silent=True)), "login")
    assert "may be no PostgreSQL at all" in finding.says


def test_a_spare_host_or_address_that_is_down_is_no_problem():
    down = Host(name="old", port=5432, knocks=(replace(KNOCK, error="Connection refused"),))
    facts = replace(FACTS, hosts=(down, *FACTS.hosts))
    assert [each.mark for each in found(facts, "port")] == [Mark.WARNING, Mark.OK]
    both = Host(name="localhost", port=1, knocks=(replace(KNOCK, address="::1", error="refused"), KNOCK))
    assert [each.mark for each in found(replace(FACTS, hosts=(both,)), "port")] == [Mark.NOTE, Mark.OK]


def test_one_standby_is_what_a_reader_asks_for():
    facts = replace(on_server(in_recovery=True), settings=by_settings(target_session_attrs="prefer-standby").settings)
    assert found(facts, "state")[0].mark is Mark.OK


@pytest.mark.parametrize(
    ("fleet", "size", "mark", "words"),
    [
        (Fleet(), 10, Mark.OK, "10 connections, of 97"),
        (Fleet(), 97, Mark.NOTE, "97 connections, of 97"),
        (Fleet(), 98, Mark.PROBLEM, "Set max_size to 97"),
        (Fleet(processes=8, hosts=40), 10, Mark.PROBLEM, "Not even max_size=1 fits 320 times"),
        (Fleet(processes=8, hosts=4), 10, Mark.PROBLEM, "4 hosts x 8 processes = 320 connections"),
        (Fleet(processes=8), UNLIMITED, Mark.WARNING, "Set max_size to 12"),
    ],
)
def test_the_fleet_has_a_budget(fleet, size, mark, words):
    facts = replace(by_settings(policy=PoolPolicy(max_size=size)), fleet=fleet)
    (finding,) = found(facts, "capacity")
    assert finding.mark is mark
    assert words in f"{finding.says} {finding.remedy}"


def test_the_smallest_limit_counts_and_a_pooler_has_its_own():
    assert room_for(replace(SERVER, role_limit=20, database_limit=30))[0] == 20
    assert room_for(replace(SERVER, role_limit=20, superuser=True))[0] == 97
    behind = replace(FACTS, fleet=Fleet(processes=99), pooler=Pooler(present=True, mode="transaction"))
    assert found(behind, "capacity")[0].mark is Mark.NOTE


def test_a_leak_is_to_be_reported_before_the_server_ends_it():
    facts = by_settings(policy=PoolPolicy(leak_after=600))
    assert "below 300" in found(facts, "timeouts")[0].remedy


# ---- the report


def printed(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def test_the_report_fits_the_width_and_has_every_setting_and_finding():
    text = printed(render(FACTS, judge(FACTS)))
    assert max(map(len, text.splitlines())) <= 80
    for words in ("dbkit check app@db:5432/shop", "password", "***", "✓ capacity", "≤ 122 us", "All is well."):
        assert words in text


def test_what_others_wrote_cannot_move_the_cursor():
    text = printed(render(FACTS, [problem("login", "\x1b[2J\x07bad\nworse", "\x1b]0;x\x07")]))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "bad" in text
    assert "worse" in text


def test_warnings_fail_only_where_that_is_asked_for():
    findings = [warning("role", "a", "b")]
    assert (exit_code(findings), exit_code(findings, strict=True)) == (0, 1)
    assert summary([*findings, problem("x", "y", "z")]) == "1 problem, 1 warning."


def test_json_has_one_shape_whether_much_is_known_or_nothing():
    much = as_json(FACTS, judge(FACTS), code=0)
    nothing = as_json(None, judge_faults([Fault("port", "must be a number", "'x'", "URL")]), code=1)
    for report in (much, nothing):
        assert list(report) == ["format", "fine", "target", "findings", "settings", "round_trip"]
        assert all(list(each) == ["check", "mark", "says", "remedy"] for each in report["findings"])
    assert much["round_trip"] == {"count": 20, "median_ms": 0.1, "p95_ms": 0.1}
    assert "must be a number" in nothing["findings"][0]["says"]


def test_a_histogram_counts_every_time_once():
    lines = str(histogram([0.0001] * 30 + [0.001])).splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["30", "1"]
