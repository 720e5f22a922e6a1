"""Microsoft Entra tokens, for Azure Database for PostgreSQL."""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING

from dbkit.credentials.base import Token
from dbkit.credentials.errors import CredentialError
from dbkit.credentials.extras import need, one_text
from dbkit.credentials.remote import RemoteCredential

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.identity import DefaultAzureCredential

AZURE_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
"""The resource of the tokens: Azure's databases in the public cloud."""

AZURE_GOVERNMENT_SCOPE = "https://ossrdbms-aad.database.usgovcloudapi.net/.default"
"""The same in Azure Government."""

AZURE_CHINA_SCOPE = "https://ossrdbms-aad.database.chinacloudapi.cn/.default"
"""The same in Azure operated by 21Vianet."""


_CONTENT = re.compile(r"^Content: .*$", re.MULTILINE)
"""How azure-core quotes an answer."""


class AzureCredential(RemoteCredential):
    """Tokens of Microsoft Entra: of a managed identity, a workload identity, a service principal, the Azure CLI, ...

    Needs the extra ``azure``. The user name stays the configured one: the name the identity has in the database. In
    another cloud than the public one give its ``scope``, and to service principals ``AZURE_AUTHORITY_HOST``.

    When the server rejects a token, azure-identity's cache must not give the same one again. A credential made here is
    replaced by a new one then; one you give is asked again, which helps only if it does not cache. Azure itself may
    repeat a token that is still good, and then the server's rejection stands. Thread-safe, fork-safe.

    Args:
        credential: a credential of azure-identity, or any object with its ``get_token``; None for its
            ``DefaultAzureCredential``, which tries one source after the other (``AZURE_TOKEN_CREDENTIALS`` picks one).
        scope: the resource of the tokens.
        timeout: seconds that a connection attempt waits for a token.

    Raises:
        CredentialError: azure-identity is not installed.
        TypeError: ``credential`` has no ``get_token``, or one for asyncio.
    """

    gives_tokens = True

    def __init__(
        self, credential: TokenCredential | None = None, *, scope: str = AZURE_SCOPE, timeout: float = 10.0
    ) -> None:
        super().__init__(timeout=timeout)
        if credential is None:
            need("azure", "azure.identity")
        elif not callable(getattr(credential, "get_token", None)):
            raise TypeError(f"credential must have a method get_token, and {type(credential).__name__} has none")
        elif inspect.iscoroutinefunction(credential.get_token):
            raise TypeError("credential must not be one of azure.identity.aio: take the same class of azure.identity")
        self._given = credential
        self._scope = one_text("scope", scope)

    def _start_afresh(self) -> None:
        self._made: DefaultAzureCredential | None = None  # in a forked child, its sockets are the parent's
        super()._start_afresh()

    def fetch(self) -> Token:
        """Ask azure-identity, which answers from its own cache while its token is good for another 5 minutes."""
        source = self._given or self._made or self._make()
        from azure.core.exceptions import AzureError

        try:
            got = source.get_token(self._scope)
        except AzureError as error:
            kind, told = type(error).__name__, str(error)
        else:
            return Token(got.token, got.expires_on)
        # azure-core quotes a bad answer in its text, and keeps it in the error: it may hold a token
        raise CredentialError(f"{kind}: {_CONTENT.sub('', told).strip()}")

    def fetch_fresh(self) -> Token:
        """Ask with an empty cache."""
        stale, self._made = self._made, None
        if stale is not None:
            stale.close()
        return self.fetch()

    def _make(self) -> DefaultAzureCredential:
        from azure.identity import DefaultAzureCredential

        # no caller waits longer, so a hanging call ends then (left alone it takes 5 minutes, several times)
        self._made = DefaultAzureCredential(
            timeout=self.timeout, read_timeout=self.timeout, process_timeout=math.ceil(self.timeout)
        )
        return self._made

    def __repr__(self) -> str:
        given = f"{type(self._given).__name__}, " if self._given is not None else ""
        return f"AzureCredential({given}scope={self._scope!r})"
