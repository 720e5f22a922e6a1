"""Google Cloud's access tokens, for IAM database authentication of Cloud SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dbkit.credentials.base import REFRESH_AHEAD, Token
from dbkit.credentials.extras import need, one_text
from dbkit.credentials.remote import RemoteCredential

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import Request

GCP_SCOPE = "https://www.googleapis.com/auth/sqlservice.login"
"""The scope of the tokens: logging in to databases of Cloud SQL, and nothing else."""


class GcpCredential(RemoteCredential):
    """Access tokens of Google Cloud, from google-auth: of a service account, a workload identity, ``gcloud``, ...

    Needs the extra ``gcp``. The user name stays the configured one: the account's mail address, for a service account
    without its ``.gserviceaccount.com``. For AlloyDB give its scope, ``https://www.googleapis.com/auth/alloydb.login``.

    When the server rejects a token, google-auth is made to ask Google again. A metadata server repeats its token until
    4 minutes before the end, and then the server's rejection stands. Thread-safe, fork-safe.

    Args:
        credentials: any credentials of google-auth; None for its application default credentials. Where they need a
            scope and have none, they get ``scope``.
        scope: the scope of the tokens. Some sources have scopes of their own (an instance, ``gcloud``): theirs hold.
        timeout: seconds that a connection attempt waits for a token.

    Raises:
        CredentialError: google-auth or requests is not installed.
        TypeError: ``credentials`` cannot be refreshed.
    """

    gives_tokens = True

    def __init__(
        self, credentials: Credentials | None = None, *, scope: str = GCP_SCOPE, timeout: float = 10.0
    ) -> None:
        super().__init__(timeout=timeout)
        need("gcp", "google.auth", "requests")
        if credentials is not None and not callable(getattr(credentials, "refresh", None)):
            raise TypeError(f"credentials must be google-auth's, not {type(credentials).__name__}")
        self._given = credentials
        self._scope = one_text("scope", scope)

    def _start_afresh(self) -> None:
        self._made: Credentials | None = None  # in a forked child, its locks may never be released
        super()._start_afresh()

    def fetch(self) -> Token:
        """The token google-auth has, if it is good for another 5 minutes; else a new one."""
        return self._ask(fresh=False)

    def fetch_fresh(self) -> Token:
        """A new one; credentials that were not given are looked for again."""
        self._made = None
        return self._ask(fresh=True)

    def _ask(self, *, fresh: bool) -> Token:
        from google.auth.exceptions import GoogleAuthError

        request = _request(self.timeout)
        try:
            source = self._made or self._make(request)
            if fresh or not _lasts(source):
                source.refresh(request)
            return Token(source.token or "", _end(source))
        except GoogleAuthError as error:
            _forget_the_response(error)
            raise
        finally:
            request.session.close()

    def _make(self, request: Request) -> Credentials:
        import google.auth
        from google.auth.credentials import with_scopes_if_required

        if self._given is not None:
            made: Credentials = with_scopes_if_required(self._given, [self._scope])
        else:
            made, _ = google.auth.default(scopes=[self._scope], request=request)
        self._made = made
        return made

    def __repr__(self) -> str:
        given = f"{type(self._given).__name__}, " if self._given is not None else ""
        return f"GcpCredential({given}scope={self._scope!r})"


def _end(source: Credentials) -> datetime | None:
    """When its token ends; google-auth's times are UTC without saying so."""
    end: datetime | None = source.expiry
    return end.replace(tzinfo=UTC) if end is not None and end.tzinfo is None else end


def _lasts(source: Credentials) -> bool:
    end = _end(source)
    return bool(source.token) and (end is None or end > datetime.now(UTC) + timedelta(seconds=REFRESH_AHEAD))


def _request(timeout: float) -> Request:
    """google-auth's transport, but no call of it takes longer than a caller waits (by default two minutes)."""
    from google.auth.transport.requests import Request

    class Bounded(Request):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **{"timeout": timeout, **kwargs})

    return Bounded()


def _forget_the_response(error: BaseException | None) -> None:
    """google-auth keeps the whole response beside an error's text; one without the right token may hold others."""
    from google.auth.exceptions import GoogleAuthError

    while error is not None:
        if isinstance(error, GoogleAuthError):
            error.args = error.args[:1]
        error = error.__cause__ or error.__context__
