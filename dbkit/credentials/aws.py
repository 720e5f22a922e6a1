"""IAM authentication of Amazon RDS and Aurora: tokens that are signed here, with the keys of an AWS identity."""

from __future__ import annotations

import copy
import os
import re
import time
from typing import TYPE_CHECKING, Protocol, Self, cast

from dbkit.credentials.base import Token
from dbkit.credentials.errors import CredentialError
from dbkit.credentials.extras import need, one_text
from dbkit.credentials.remote import RemoteCredential
from dbkit.errors import Fault, SettingsError

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings

LIFE = 900.0
"""Seconds a token is good for: the provider's rule, written into each."""


class Signer(Protocol):
    """boto3's client for ``rds``, as far as it is needed here."""

    def generate_db_auth_token(self, host: str, port: int, username: str, region: str | None, /) -> str:
        """Sign a token."""


class AwsRdsCredential(RemoteCredential):
    """Tokens for RDS and Aurora, signed by boto3 for one host, port and user.

    Needs the extra ``aws``. Signing itself sends no request, but finding the keys to sign with may (a role, a
    container, an instance). An argument that is not given here comes from the manager's settings. The host must be the
    database's own name at AWS: through a tunnel or a CNAME give it here, and the other one in the settings.

    When the server rejects a token, boto3 starts again from nothing, so that changed keys are found; a client you give
    is only asked to sign again. botocore's own log, at DEBUG, shows the request it signs. Thread-safe, fork-safe.

    Args:
        host: the host name to sign for.
        port: the port to sign for; by default the settings', else 5432.
        username: the user to sign for.
        region: the database's region; by default that of ``client``, else the one in the host name
            (``NAME.eu-west-1.rds.amazonaws.com``), else boto3's.
        client: boto3's client for ``rds``; by default one of a session of its own, from the usual places.
        timeout: seconds that a connection attempt waits for a token.

    Raises:
        CredentialError: boto3 is not installed.
        TypeError, ValueError: an argument cannot be used.
    """

    gives_tokens = True

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        *,
        region: str | None = None,
        client: Signer | None = None,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(timeout=timeout)
        if client is None:
            need("aws", "boto3")
        elif not callable(getattr(client, "generate_db_auth_token", None)):
            raise TypeError(f"client must be boto3's client for rds, not {type(client).__name__}")
        for name, value in (("host", host), ("username", username), ("region", region)):
            if value is not None:
                one_text(name, value)
        if host is not None and "," in host:
            raise ValueError("host must be one: a token is signed for one host name")
        if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
            raise ValueError(f"port must be a whole number from 1 to 65535, not {port!r}")
        self._host, self._port, self._username = host, port, username
        self._region, self._client = region, client

    def _start_afresh(self) -> None:
        self._made: Signer | None = None  # in a forked child, its locks may never be released
        super()._start_afresh()

    def bound_to(self, settings: DatabaseSettings) -> Self:
        """The same with the settings' host, port and user where it has none; itself where nothing is missing.

        Raises:
            SettingsError: the settings do not name one host and a user.
        """
        if self._host is not None and self._port is not None and self._username is not None:
            return self
        bound = copy.copy(self)
        bound._lease = None
        bound._begin()
        faults: list[Fault] = []
        if bound._host is None:
            bound._host = _one_host(settings, faults)
        if bound._port is None:
            bound._port = _one_port(settings, faults)
        if bound._username is None:
            bound._username = settings.username
            if bound._username is None:
                faults.append(Fault("username", "a token of AWS is signed for a user, so it cannot be left to libpq"))
        if faults:
            raise SettingsError(faults)
        return bound

    def fetch(self) -> Token:
        """Sign a token. Asks AWS only for keys to sign with, and only if boto3 has none that are good."""
        if self._host is None or self._username is None:
            raise CredentialError("no host or user is known to sign for: give AwsRdsCredential a host and a username")
        signer = self._client or self._made or self._make()
        now = time.time()
        region = self._region or (_region_in(self._host) if self._client is None else None)
        signed = signer.generate_db_auth_token(self._host, self._port or 5432, self._username, region)
        return Token(signed, now + LIFE)

    def fetch_fresh(self) -> Token:
        """Sign with keys that boto3 looks for again."""
        self._made = None
        return self.fetch()

    def _make(self) -> Signer:
        import boto3
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import NoRegionError

        region = self._region or _region_in(self._host or "")
        core = botocore.session.Session()  # not the default one, which must not be used by two threads at once
        core.set_default_client_config(Config(connect_timeout=self.timeout, read_timeout=self.timeout))
        try:
            self._made = made = cast("Signer", boto3.Session(botocore_session=core).client("rds", region))
        except NoRegionError as error:
            message = (
                "no AWS region is known: give AwsRdsCredential(region=...), or set AWS_DEFAULT_REGION or the region of "
                "a profile (boto3 does not read AWS_REGION)"
            )
            raise CredentialError(message, error) from error
        return made

    def __repr__(self) -> str:
        parts = {"host": self._host, "port": self._port, "username": self._username, "region": self._region}
        shown = ", ".join(f"{name}={value!r}" for name, value in parts.items() if value is not None)
        return f"AwsRdsCredential({shown})"


_RDS_HOST = (
    r".*\.(?P<region>[a-z]{2}(-[a-z]+)+-[0-9]+)\.rds\.amazonaws\.com"
    r"|.*\.rds\.(?P<china>cn-[a-z]+-[0-9]+)\.amazonaws\.com\.cn"
)


def _region_in(host: str) -> str | None:
    """The region that an RDS host name tells; None for a name of another kind."""
    told = re.fullmatch(_RDS_HOST, host.lower().removesuffix("."))
    return (told["region"] or told["china"]) if told else None


def _one_host(settings: DatabaseSettings, faults: list[Fault]) -> str | None:
    host = settings.host
    if host is None:
        reason = "a token of AWS is signed for a host name, so it cannot be left to libpq"
    elif "," in host:
        reason = "a token of AWS is signed for one host name: name one, or give AwsRdsCredential(host=...)"
    elif host.startswith(("/", "@")):
        reason = "a token of AWS is signed for a host name, not for a socket: give AwsRdsCredential(host=...)"
    else:
        return host
    faults.append(Fault("host", reason, host or "", settings.origin("host")))
    return None


def _one_port(settings: DatabaseSettings, faults: list[Fault]) -> int | None:
    ports = set(str(settings.port or os.environ.get("PGPORT") or 5432).split(","))  # PGPORT is what libpq goes by
    if len(ports) == 1:
        return int(ports.pop() or 5432)
    reason = "a token of AWS is signed for one port: name one, or give AwsRdsCredential(port=...)"
    faults.append(Fault("port", reason, str(settings.port), settings.origin("port")))
    return None
