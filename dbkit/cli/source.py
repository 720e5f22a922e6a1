"""Which server a command talks to: the URL it is given, else what an application would take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import click

from dbkit.settings import DatabaseSettings

C = TypeVar("C", bound=Callable[..., Any])


def source_options(command: C) -> C:
    """Give a command the argument ``URL`` and the options that go with it."""
    for add in (
        click.option("--section", metavar="NAME", default="postgresql", help="Its section.", show_default=True),
        click.option("--ini", metavar="FILE", type=click.Path(), help="An INI file, below the environment in rank."),
        click.argument("url", required=False),
    ):
        command = add(command)
    return command


def load(url: str | None, ini: str | None, section: str, *, application_name: str) -> DatabaseSettings:
    """The settings by these sources. Their remarks are left to the command, which may show them.

    Args:
        url: as given, or None.
        ini: a file, or None.
        section: of that file.
        application_name: for ``pg_stat_activity``, where nothing else sets one.

    Raises:
        SettingsError: naming all that is wrong.
        click.UsageError: a URL and a file at the same time.
    """
    if url is not None and ini is not None:
        raise click.UsageError("give a URL or --ini, not both")
    names = {"application_name": application_name}
    logging.getLogger("dbkit").addHandler(logging.NullHandler())  # the report shows what is to be shown
    if ini is not None:
        return DatabaseSettings.from_ini(ini, section, defaults=names)
    return DatabaseSettings.load(url, defaults=names)
