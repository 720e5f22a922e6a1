"""The command ``dbkit check``."""

from __future__ import annotations

import json

import click
from rich.console import Console

from dbkit.cli.check.facts import Facts, Fleet
from dbkit.cli.check.findings import Finding, exit_code
from dbkit.cli.check.gather import gather
from dbkit.cli.check.judge import judge, judge_faults
from dbkit.cli.check.report import as_json, render
from dbkit.cli.source import load, source_options
from dbkit.errors import SettingsError


@click.command
@source_options
@click.option("--processes", type=click.IntRange(1), default=1, help="Processes on each host that have a pool.")
@click.option("--hosts", type=click.IntRange(1), default=1, help="Hosts that run them.")
@click.option("--config", metavar="FILE", type=click.Path(), help="The alembic.ini; default: the one here, if any.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=5.0, show_default=True, help="For each step.")
@click.option("--strict", is_flag=True, help="Warnings count as problems.")
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON object, for scripts.")
def check(
    url: str | None,
    ini: str | None,
    section: str,
    processes: int,
    hosts: int,
    config: str | None,
    seconds: float,
    strict: bool,
    wants_json: bool,
) -> int:
    """Is everything in order between this machine and the database?

    Looks at the settings and where each came from, the server's name, address and port, TLS and its certificate, the
    login, the server's version and state, room for all pools, PgBouncer, timeouts, clocks, migrations and the round
    trip; says what to do about whatever is wrong. It changes nothing. The exit code is 0 where all is well, 1 where
    there are problems, 2 for a wrong command.

    \b
    Examples:
      dbkit check
      dbkit check postgresql://app@db.example/shop
      dbkit check --processes 8 --hosts 40        the budget of the whole fleet
      dbkit check --json | jq '.findings[] | select(.mark == "problem")'
    """
    facts: Facts | None = None
    findings: tuple[Finding, ...]
    screen = Console(stderr=True)
    try:
        settings = load(url, ini, section, application_name="dbkit check")
        with screen.status("") as status:
            facts = gather(
                settings,
                Fleet(processes=processes, hosts=hosts),
                seconds=seconds,
                alembic_ini=config,
                progress=lambda step: status.update(f"{step} ..."),
            )
        findings = judge(facts)
    except SettingsError as error:
        findings = judge_faults(error.faults)
    code = exit_code(findings, strict=strict)
    if wants_json:
        click.echo(json.dumps(as_json(facts, findings, code=code), indent=2, ensure_ascii=False))
    else:
        Console(highlight=False).print(render(facts, findings))
    return code
