"""Chooses the credential: the one given in code, else the one that the settings name, else their password."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from dbkit.credentials.base import BaseCredential, Credential, StaticPassword, Token
from dbkit.errors import Fault, SettingsError

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings, Secret

Given = Credential | Callable[[], "str | Secret | Token"]
"""All that an application may give as its credential."""


def choose(settings: DatabaseSettings, given: Given | None = None) -> BaseCredential | None:
    """The credential to connect with.

    Args:
        settings: who connects to what; ``AwsRdsCredential`` signs for their host, port and user.
        given: a credential, any object with a method ``current()``, or a callable without arguments.

    Returns:
        None where nothing gives one, and libpq looks for itself (``PGPASSWORD``, ``.pgpass``, certificates).

    Raises:
        SettingsError: ``given`` is no credential, or does not fit the settings.
        CredentialError: a package is missing; the message names the extra.
    """
    credential = _wrapped(given) if given is not None else _configured(settings)
    return credential.bound_to(settings) if credential is not None else None


def _wrapped(given: object) -> BaseCredential:
    """The one place where anything an application may give becomes a ``BaseCredential``."""
    if isinstance(given, BaseCredential):
        return given
    if not isinstance(given, type):
        function = given.current if isinstance(given, Credential) else given
        if callable(function):
            from dbkit.credentials.simple import CallableCredential  # most have a fixed password

            return CallableCredential(function)
    reason = "must be a credential, or a callable without arguments that returns a password or a Token"
    if isinstance(given, type):
        reason += f", not the class {given.__name__}: make one, {given.__name__}()"
    elif isinstance(given, str):
        reason += "; a fixed password is given as password"
    else:
        reason += f", not {type(given).__name__}"
    raise SettingsError([Fault("credential", reason)])


def _configured(settings: DatabaseSettings) -> BaseCredential | None:
    match settings.credential:
        case "azure":
            from dbkit.credentials.azure import AZURE_SCOPE, AzureCredential

            return AzureCredential(scope=settings.credential_scope or AZURE_SCOPE)
        case "aws":
            from dbkit.credentials.aws import AwsRdsCredential

            return AwsRdsCredential()
        case "gcp":
            from dbkit.credentials.gcp import GCP_SCOPE, GcpCredential

            return GcpCredential(scope=settings.credential_scope or GCP_SCOPE)
        case "file":
            from dbkit.credentials.simple import FileCredential

            return FileCredential(cast("str", settings.password_file))
    return StaticPassword(settings.password) if settings.password is not None else None
