"""One physical connect: the one place where a password or a token meets the driver.

Invariants:

1. The credential is asked anew for each physical connect, whoever needs it: a session, a query, a migration, upkeep.
2. A token travels over a network only where TLS proves who the server is, unless the settings allow otherwise by name.
3. A login that the server rejects is tried once more at once, with another password or token, if there is another.
   Where logins have worked before it is given ``GRACE`` beyond that: a password is not changed at the server and at
   whoever gives it in the same moment.
4. Neither the connector's ``repr`` nor whatever a failed connect raises shows a secret.
"""

from __future__ import annotations

import logging
import time
from _thread import get_ident
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import psycopg2

from dbkit.credentials.base import StaticPassword, Token, text_of, without_tracebacks
from dbkit.diagnosis.rejection import is_rejection  # not lazily: a process out of files cannot import
from dbkit.errors import Fault, SettingsError
from dbkit.settings.secret import Secret

if TYPE_CHECKING:
    from dbkit.credentials.resolve import Renewable

logger = logging.getLogger("dbkit.credentials")

GRACE: Final = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds between further tries of a login that worked before and is now rejected, 3 s in all, for a rotation to get
from one of its two steps to the other. Waited on the connect's own thread; borrowers have their deadlines."""


class Connector:
    """Opens one connection when it is called: what the pool uses for every physical connect. Thread-safe.

    Args:
        target: where to, for messages.
        params: keyword arguments for ``psycopg2.connect``.
        secrets: those of them that are not to be shown, without the password.
        credential: gives the password or token; None leaves it to libpq.
        refusal: tells what is wrong with sending a token to this server now; None if it may be sent. Asked for each
            token, since libpq goes by the environment of that moment.

    Raises:
        SettingsError: the credential is one that gives tokens, and they must not be sent.
    """

    __slots__ = ("_credential", "_params", "_refusal", "_secrets", "_target", "_trying_again", "_worked")

    def __init__(
        self,
        target: str,
        params: Mapping[str, Any],
        secrets: Mapping[str, Secret],
        credential: Renewable | None,
        refusal: Callable[[], Fault | None],
    ) -> None:
        self._target = target
        self._params = dict(params)
        self._secrets = dict(secrets)
        self._credential = credential
        self._refusal = refusal
        self._worked = False
        self._trying_again: set[int] = set()
        """The threads whose login was rejected and is tried again."""
        if getattr(credential, "gives_tokens", False):
            self._admit_tokens()

    def password(self) -> Secret | Token | None:
        """What to log in with now; None leaves it to libpq. Asked anew for each physical connect.

        Raises:
            CredentialError: it could not be had.
            SettingsError: it is a token, and must not travel to this server.
        """
        return self._admitted(self._credential.current()) if self._credential is not None else None

    def _renewed(self, rejected: Secret | Token) -> Secret | Token | None:
        return self._admitted(self._credential.renewed(rejected)) if self._credential is not None else None

    def _admitted(self, proof: str | Secret | Token | None) -> Secret | Token | None:
        if isinstance(proof, Token):
            self._admit_tokens()
        return Secret(proof) if isinstance(proof, str) else proof

    def _admit_tokens(self) -> None:
        fault = self._refusal()
        if fault is not None:
            raise SettingsError([fault])

    def renew(self) -> None:
        """Have the next connects log in with a fresh token, where the credential is one that gives any.

        Raises:
            CredentialError: there is none to be had; the one at hand stays in use.
        """
        if self._credential is not None:
            self._credential.refresh()

    def pending(self) -> str | None:
        """What connects under way wait for, if it is not the server."""
        if self._trying_again:
            return f"{self._target} rejected the login, which is tried again with what {self._credential!r} gives"
        pending = getattr(self._credential, "pending", None)
        return pending() if pending is not None else None

    def __call__(self) -> psycopg2.extensions.connection:
        proof = self.password()
        try:
            connection = self._connected(proof)
        except (psycopg2.Error, UnicodeDecodeError) as error:
            if proof is None or isinstance(self._credential, StaticPassword) or not is_rejection(error):
                raise
            self._trying_again.add(get_ident())
            try:
                connection = self._once_more(proof, error)
            except BaseException:
                self._worked = False  # the next ones are told at once, until one is let in
                raise
            finally:
                self._trying_again.discard(get_ident())
        self._worked = True
        return connection

    def _once_more(self, rejected: Secret | Token, error: Exception) -> psycopg2.extensions.connection:
        """Log in with another password or token than the rejected one, or raise ``error``, or one like it."""
        for delay in (0.0, *(GRACE if self._worked else ())):
            time.sleep(delay)
            fresh = self._renewed(rejected)
            if fresh is None and not delay:
                continue  # there is no other yet
            logger.info("%s rejected the login; once more, with what %r gives now", self._target, self._credential)
            rejected = fresh or rejected
            try:
                return self._connected(rejected)
            except (psycopg2.Error, UnicodeDecodeError) as next_error:
                error = next_error
                if not is_rejection(next_error):
                    break
        raise error

    def _connected(self, proof: Secret | Token | None) -> psycopg2.extensions.connection:
        try:
            return self._connect(**self._params, **self._revealed(proof))
        except UnicodeEncodeError:
            pass  # its `object` is all that was to be sent
        except BaseException as error:  # noqa: BLE001 - passed on
            # the frames below hold the password in their locals, and error trackers record locals
            raise without_tracebacks(error)  # noqa: B904 - it is the same error
        raise SettingsError([Fault("connect_args", "hold text that is not valid UTF-8")])

    _connect: Callable[..., psycopg2.extensions.connection] = staticmethod(psycopg2.connect)

    def _revealed(self, proof: Secret | Token | None) -> dict[str, str]:
        revealed = {key: secret.reveal() for key, secret in self._secrets.items()}
        if proof is not None:
            revealed["password"] = text_of(proof).reveal()
        return revealed

    def __repr__(self) -> str:
        return f"<Connector to {self._target}>"
