"""From the settings, or from what an application gives in code, to the credential that connects go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from dbkit.credentials.base import Credential, StaticPassword, Token
from dbkit.errors import Fault, SettingsError

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings, Secret

Given = Credential | Callable[[], "str | Secret | Token"]
"""What an application may give as its credential."""


class Renewable(Protocol):
    """A credential as dbkit's own are: it can be told that the server rejected what it gave."""

    def current(self) -> Secret | Token:
        """The password or token to log in with now."""

    def renewed(self, rejected: Secret | Token) -> Secret | Token | None:
        """Another one than the one rejected; None if there is none."""

    def refresh(self) -> None:
        """Have a fresh one for the next connects."""


def choose(settings: DatabaseSettings, given: Given | None = None) -> Renewable | None:
    """The credential to connect with: the one given in code, else the one the settings name, else their password.

    Args:
        settings: who connects to what; ``AwsRdsCredential`` signs for their host, port and user.
        given: a credential, anything with its ``current()``, or a callable without arguments.

    Returns:
        None where nothing says so, and libpq is to see (``PGPASSWORD``, ``.pgpass``, certificates).

    Raises:
        SettingsError: what was given is no credential, or does not fit the settings.
        CredentialError: a package is missing; the message names the extra.
    """
    credential = _wrapped(given) if given is not None else _configured(settings)
    bind = getattr(credential, "bound_to", None)
    return cast("Renewable", bind(settings)) if bind is not None else credential


def _wrapped(given: object) -> Renewable:
    if not isinstance(given, type):
        if all(callable(getattr(given, name, None)) for name in ("current", "renewed", "refresh")):
            return cast("Renewable", given)
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


def _configured(settings: DatabaseSettings) -> Renewable | None:
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
