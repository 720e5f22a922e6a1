"""The command ``dbkit top``."""

from __future__ import annotations

import os
import select
from datetime import datetime
from functools import partial

import click
from rich.console import Console
from rich.live import Live

from dbkit.cli.source import load, source_options
from dbkit.cli.top.sampler import Sampler, take_sample
from dbkit.cli.top.state import Picture, press, with_sample
from dbkit.cli.top.terminal import ended_by_signals, keys, pressed
from dbkit.cli.top.view import screen
from dbkit.manager import DatabaseConnectionManager

_PATIENCE = 5.0
"""Seconds to wait for a connection."""


@click.command
@source_options
@click.option("--app", metavar="SOCKET|URL", help="Show the pool of the application that shows it there.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Look once, and print it. So it is where the output is no terminal.")
def top(url: str | None, ini: str | None, section: str, app: str | None, interval: float, once: bool) -> int:
    """Who uses the database, and an application's pool, now?

    Sessions by state and by application, who blocks whom, the oldest transactions. It needs one connection. A
    superuser, or a member of pg_monitor, sees everybody's; others see their own.

    An application shows its pool with `dbkit.live.serve(db, "/run/app.sock")`. For a URL that wants a token, set
    DBKIT_TOKEN.

    \b
    Keys: q quit, p pause, s sort, + - pace, space now, ? help.

    \b
    Examples:
      dbkit top
      dbkit top --app /run/shop/4711.sock
      dbkit top --app https://shop.example/db/pool     with DBKIT_TOKEN
      dbkit top --once | less                          one look, as text
    """
    settings = load(url, ini, section, application_name="dbkit top")
    # a pool that never tells "wait": after an outage each look says what is wrong, or that all is well again
    settings = settings.replace(min_size=0, max_size=1, timeout=_PATIENCE, reconnect_timeout=0)
    picture = Picture(target=settings.target, interval=interval, asks_app=app is not None)
    db = DatabaseConnectionManager(settings)
    take = partial(take_sample, db, app, os.environ.get("DBKIT_TOKEN"))
    console = Console(highlight=False)
    try:
        if once or not console.is_terminal:
            picture = with_sample(picture, take())
            console.print(screen(picture, console.width, None, clock=_clock()), soft_wrap=True)
            return 1 if picture.server is None and picture.pool is None else 0
        with ended_by_signals():
            _run(console, picture, Sampler(take, interval))
    except KeyboardInterrupt:
        pass
    finally:
        db.close_connections(timeout=0)
    return 0


def _run(console: Console, picture: Picture, sampler: Sampler) -> None:
    """Show the picture until somebody leaves."""
    with keys() as terminal, Live(console=console, screen=True, auto_refresh=False) as live:
        sources = [sampler.ready] if terminal is None else [sampler.ready, terminal]
        while True:
            live.update(screen(picture, console.width, console.height, clock=_clock()), refresh=True)
            readable, _, _ = select.select(sources, [], [], 1.0)  # the clock goes on, and the window may change
            if sampler.ready in readable:
                sample = sampler.take()
                picture = picture if sample is None or picture.paused else with_sample(picture, sample)
            for key in pressed(terminal) if terminal is not None and terminal in readable else "":
                done = press(picture, key)
                if done.leave:
                    return
                picture = done.picture
                sampler.interval, sampler.paused = picture.interval, picture.paused
                if done.look:
                    sampler.look_now()


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
