"""All sources of one load, the strongest first."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dbkit.core.policy import OPTIONAL
from dbkit.errors import Fault
from dbkit.settings import sources
from dbkit.settings.merge import DEFAULT, Ranked, describes_server, merge
from dbkit.settings.secret import Secret
from dbkit.settings.sources import Layer, Setting
from dbkit.settings.url import SqlalchemyUrl


def gather(
    adjusted: Layer,
    given: Layer,
    variables: Mapping[str, str],
    env_file: str | os.PathLike[str] | None,
    url_variable: str | None,
    ini: Layer,
    defaults: Layer,
) -> Layer:
    """Read the environment and ``env_file``, and merge all that was said.

    Args:
        adjusted: the keyword arguments.
        given: the URL or mapping; empty if there is none.
        variables: the environment.
        env_file: the file of variables, or None.
        url_variable: the variable that holds a URL, or None.
        ini: the INI section; empty if there is none.
        defaults: for what nobody says.
    """
    if describes_server(given):
        url_variable = None
    environment = sources.from_variables(variables, "environment variable {}".format, url_variable=url_variable)
    entries, faults = sources.read_dotenv(env_file)
    shown = f"the file {os.fspath(env_file)}, " if env_file is not None else ""
    file = sources.from_variables(
        entries, lambda name: shown + name, url_variable=None if environment.from_url else url_variable
    )
    file.faults += faults
    return merge(
        (
            Ranked(adjusted, in_code=True),
            Ranked(given, whole=True, in_code=True),
            Ranked(environment, whole=environment.from_url),
            Ranked(file, whole=file.from_url),
            Ranked(ini),
        ),
        defaults,
    )


def from_code(source: object) -> Layer:
    """The first argument of ``load()``."""
    if source is None:
        return Layer()
    if isinstance(source, str):
        return sources.from_url(Secret(source), "URL")
    if isinstance(source, Secret):
        return sources.from_url(source, "URL")
    if isinstance(source, Mapping):
        return sources.from_mapping(source, "mapping")
    if isinstance(source, SqlalchemyUrl):
        return sources.from_url_object(source, "URL")
    reason = f"must be a URL or a mapping, not {type(source).__name__}"
    return Layer(faults=[Fault("source", reason)])


def from_overrides(overrides: Mapping[str, object]) -> Layer:
    """The keyword arguments of ``load()``."""
    return sources.from_mapping(overrides, "argument", keep_none=OPTIONAL)


def from_defaults(defaults: Mapping[str, object] | None) -> Layer:
    """The ``defaults`` of ``load()``; of one origin, whatever they were called."""
    layer = sources.from_mapping(defaults or {}, DEFAULT, keep_none=OPTIONAL)
    layer.values = {key: Setting(setting.value, DEFAULT) for key, setting in layer.values.items()}
    return layer
