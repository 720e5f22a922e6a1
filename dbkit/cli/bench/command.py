"""The command ``dbkit bench``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from dbkit.cli.bench.measure import READ_ONLY, measure
from dbkit.cli.bench.points import Point, advise, better, grid
from dbkit.cli.bench.report import render, svg
from dbkit.cli.check.judge_server import room_for
from dbkit.cli.check.server import ask
from dbkit.cli.source import load, source_options
from dbkit.manager import DatabaseConnectionManager
from dbkit.settings import DatabaseSettings

ROUNDS = 2
"""Every point is measured so often, the quickest counts."""


@click.command
@source_options
@click.option("--seconds", type=click.FloatRange(1, 3600), default=20.0, show_default=True, help="For all of it.")
@click.option(
    "--max-size", type=click.IntRange(1, 1000), default=32, show_default=True, help="The largest pool to try."
)
@click.option("--sql", metavar="STATEMENT", default=READ_ONLY, show_default=True, help="What each borrow executes.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Borrows in a second that all processes need.")
@click.option("--processes", type=click.IntRange(1), default=1, help="Processes on each host that have a pool.")
@click.option("--hosts", type=click.IntRange(1), default=1, help="Hosts that run them.")
@click.option("--svg", "picture", metavar="FILE", type=click.Path(dir_okay=False), help="Draw the plot there too.")
def bench(
    url: str | None,
    ini: str | None,
    section: str,
    seconds: float,
    max_size: int,
    sql: str,
    rate: float | None,
    processes: int,
    hosts: int,
    picture: str | None,
) -> int:
    """How large should the pool be, with this server and network?

    Tries pools of several sizes under several numbers of threads, from this one Python process, each twice, and
    recommends a max_size with the reason. It executes SELECT 1, which changes nothing, or the statement that you give,
    each time in a transaction of its own that is committed. Ctrl-C ends it with what was measured so far.

    \b
    Examples:
      dbkit bench
      dbkit bench --rate 3000 --processes 8 --hosts 2    what does the fleet need?
      dbkit bench --sql "SELECT * FROM films WHERE id = 7"
      dbkit bench --seconds 60 --svg pool.svg
    """
    settings = load(url, ini, section, application_name="dbkit bench")
    room, free = _look(settings, sql)
    points: list[Point] = []
    complete = False
    todo = grid(max(1, min(max_size, free))) * ROUNDS
    try:
        for size, threads in track(todo, description="measuring", console=Console(stderr=True), transient=True):
            points.append(measure(settings, size, threads, sql=sql, seconds=seconds / len(todo)))
        complete = True
    except KeyboardInterrupt:
        if not points:
            raise
    points = better(points)
    advice = advise(points, room=room, pools=processes * hosts, rate=rate)
    Console(highlight=False).print(render(points, advice, target=settings.target, complete=complete))
    if picture is not None:
        Path(picture).write_text(svg(points, advice, target=settings.target))
    return 0


def _look(settings: DatabaseSettings, sql: str) -> tuple[int, int]:
    """Try the statement once, so that a mistake is told at once; the room of the server, and how much of it is free."""
    with DatabaseConnectionManager(settings.replace(min_size=0, max_size=1)) as db:
        db.execute_query(sql)
        with db.engine.connect() as connection:
            server = ask(connection)
    room, _ = room_for(server)
    return room, room - server.sessions
