"""Passwords, and the short-lived tokens of Azure, AWS and Google Cloud.

>>> db = DatabaseConnectionManager(url, credential=AzureCredential())  # or any function that returns a password

``Token``: a token and its end. ``Credential``: the protocol, one method ``current()``. ``StaticPassword``,
``CallableCredential``, ``FileCredential``: need no SDK. ``AzureCredential``, ``AwsRdsCredential``,
``GcpCredential``: need the extra ``azure``, ``aws`` or ``gcp``.
"""

from typing import TYPE_CHECKING, Any

from dbkit.credentials.base import Credential, StaticPassword, Token
from dbkit.credentials.errors import CredentialError

if TYPE_CHECKING:
    from dbkit.credentials.aws import AwsRdsCredential
    from dbkit.credentials.azure import AzureCredential
    from dbkit.credentials.gcp import GcpCredential
    from dbkit.credentials.simple import CallableCredential, FileCredential

__all__ = [
    "AwsRdsCredential",
    "AzureCredential",
    "CallableCredential",
    "Credential",
    "CredentialError",
    "FileCredential",
    "GcpCredential",
    "StaticPassword",
    "Token",
]

_ON_DEMAND = {
    "AwsRdsCredential": "aws",
    "AzureCredential": "azure",
    "CallableCredential": "simple",
    "FileCredential": "simple",
    "GcpCredential": "gcp",
}


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        from importlib import import_module

        return getattr(import_module(f"dbkit.credentials.{_ON_DEMAND[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
