"""Opens one physical connection: the only place where a password or a token meets the driver.

Invariants:

1. The credential is asked for each physical connection, for every purpose: a session, a query, a migration, upkeep.
2. A token travels over a network only where TLS proves who the server is, unless the settings allow otherwise by name.
3. A login that the server rejected is tried once more at once, with another password or token, if there is another.
   Where logins have worked before, a rejection that is certain gets ``GRACE`` beyond that: a password does not change
   at the server and at the credential's source in the same moment. (The pool rides out everything uncertain anyway.)
4. Neither the connector's ``repr`` nor any error of a failed connection attempt shows a secret.
5. A fork waits for the driver's own connecting only, never for a credential or for a pause between two tries.
6. Where the user sets no ``connect_timeout``, each of several addresses gets its share of the borrower's time
   (``core/connect_timeouts.py``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbkit.core.connect_timeouts import first_timeout, longer_timeout
from dbkit.credentials.base import Token, checked_proof, text_of, without_tracebacks
from dbkit.credentials.errors import CredentialError
from dbkit.diagnosis.outage import is_refusal
from dbkit.diagnosis.rejection import is_rejection  # not lazily: a process out of files cannot import
from dbkit.errors import Fault, SettingsError
from dbkit.pool.creator import Creator
from dbkit.runtime.deadlines import current as current_deadline
from dbkit.runtime.forks import connecting
from dbkit.runtime.who import who
from dbkit.settings.secret import Secret

if TYPE_CHECKING:
    from dbkit.credentials.base import BaseCredential
    from dbkit.runtime.addresses import Addresses
    from dbkit.settings import DatabaseSettings

logger = logging.getLogger("dbkit.credentials")

T = TypeVar("T")

GRACE: Final = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds between further tries of a login that worked before and is now rejected, 3 s in all, for a rotation to get
from one of its two steps to the other. Waited on the connecting thread; borrowers have their own deadlines."""


_UNVERIFIED: Final = "certificate verify failed"
"""What libpq says of a certificate, whatever is wrong with it."""

DEFAULT_PORT: Final = 5432
"""PostgreSQL's, where nobody names one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the time of a connection attempt is shared out, where the user set no ``connect_timeout``.

    Attributes:
        addresses: those the driver goes through.
        timeout: seconds a borrower of the pool waits.
    """

    addresses: Addresses
    timeout: float


class Connector(Creator):
    """Opens one connection when it is called: the pool's creator. Thread-safe.

    Args:
        target: where to, for messages.
        params: keyword arguments for ``connect``.
        secrets: those of them that must not be shown, without the password.
        credential: gives the password or token; None leaves it to libpq.
        refusal: tells why no token may be sent to this server now; None if it may be sent. Asked for each token, since
            libpq reads the environment of that moment.
        origins: where the host, user and password came from (see ``origins``), for the text of failed attempts.
        connect: the driver's own; by default ``psycopg2.connect``.
        failures: the classes of the errors by which the driver tells that an attempt failed; by default psycopg2's, and
            ``UnicodeDecodeError``, which psycopg2 raises where the server's message is in an encoding of its own.
        pace: shares out the time between several addresses; None for ``connect_timeout`` as it stands in ``params``.

    Raises:
        SettingsError: the credential gives nothing but tokens, and they must not be sent.
    """

    __slots__ = (
        "_connect",
        "_credential",
        "_failures",
        "_origins",
        "_pace",
        "_params",
        "_refusal",
        "_secrets",
        "_target",
        "_trying_again",
        "_worked",
    )

    def __init__(
        self,
        target: str,
        params: Mapping[str, Any],
        secrets: Mapping[str, Secret],
        credential: BaseCredential | None,
        refusal: Callable[[], Fault | None],
        *,
        origins: str = "",
        connect: Callable[..., Any] | None = None,
        failures: tuple[type[BaseException], ...] | None = None,
        pace: Pace | None = None,
    ) -> None:
        if connect is None or failures is None:
            import psycopg2

            connect = connect or psycopg2.connect
            failures = failures or (psycopg2.Error, UnicodeDecodeError)
        self._target = target
        self._params = dict(params)
        self._secrets = dict(secrets)
        self._credential = credential
        self._refusal = refusal
        self._origins = f"dbkit tried {target}" + (f": {origins}" if origins else "")
        self._connect: Callable[..., Any] = connect
        self._failures = failures
        self._pace = pace
        self._worked = False
        self._trying_again: set[int] = set()
        """The threads or tasks whose login was rejected and is tried again."""
        if credential is not None and credential.gives_tokens:
            self._admit_tokens()

    def _admitted(self, given: object) -> Secret | Token:
        """A credential's answer, if it may be sent. A credential of a user's own may answer anything, and with no
        password libpq would take another from its environment.

        Raises:
            CredentialError: one cannot log in with it.
            SettingsError: it is a token, and must not travel to this server.
        """
        try:
            proof = checked_proof(given)
        except (TypeError, ValueError) as error:
            given = None  # error trackers record locals
            reason = f"{self._credential!r} is of no use: {error}"
            raise CredentialError(reason, without_tracebacks(error)) from None
        if isinstance(proof, Token):
            self._admit_tokens()
        return proof

    def _admit_tokens(self) -> None:
        fault = self._refusal()
        if fault is not None:
            raise SettingsError([fault])

    def renew(self) -> None:
        """Fetch a fresh token for the next connections, where the credential gives any.

        Raises:
            CredentialError: there is none to be had; the one at hand stays in use.
        """
        if self._credential is not None:
            self._credential.refresh()

    def pending(self) -> str | None:
        """Says for whom connection attempts under way wait, if it is not the server."""
        if self._trying_again:
            return f"{self._target} rejected the login, which is tried again with what {self._credential!r} gives"
        return self._credential.pending() if self._credential is not None else None

    def __call__(self) -> Any:
        """Open a connection.

        Raises:
            the driver's own error: the attempt failed; its text ends with the target and the settings' origins.
            CredentialError: there is no password or token to be had.
            SettingsError: it is a token, and must not travel to this server.
        """
        credential = self._credential
        if credential is None:
            return self._connected(None)
        proof = self._admitted(self._ask(credential.current))
        try:
            connection = self._connected(proof)
        except self._failures as error:
            if credential.fixed or not is_rejection(error):
                raise
            self._trying_again.add(who())
            try:
                connection = self._once_more(credential, proof, error)
            except BaseException:
                self._worked = False  # the next ones are told at once, until a login succeeds
                raise
            finally:
                self._trying_again.discard(who())
        self._worked = True
        return connection

    def _once_more(self, credential: BaseCredential, rejected: Secret | Token, error: BaseException) -> Any:
        """Log in with another password or token than the rejected one, or raise ``error``, or one like it."""
        grace = GRACE if self._worked and is_refusal(error) else ()
        for delay in (0.0, *grace):
            self._pause(delay)
            fresh = self._ask(partial(credential.renewed, rejected))
            if fresh is None and not delay:
                continue  # there is no other yet
            logger.info("%s rejected the login; once more, with what %r gives now", self._target, credential)
            rejected = self._admitted(fresh) if fresh is not None else rejected
            try:
                return self._connected(rejected)
            except self._failures as next_error:
                error = next_error
                if not is_rejection(next_error):
                    break
        raise error

    def _connected(self, proof: Secret | Token | None) -> Any:
        try:
            if self._pace is None:
                return self._attempt(proof)
            return self._paced(self._pace, proof)
        except UnicodeEncodeError:
            pass  # its `object` is all that was to be sent
        except BaseException as error:  # noqa: BLE001 - passed on
            if isinstance(error, self._failures):
                _add_line(error, self._origins)
                self._name_fault_of_certificate(error)
            # the frames below hold the password in their locals, and error trackers record locals
            raise without_tracebacks(error)  # noqa: B904 - it is the same error
        raise SettingsError([Fault("connect_args", "hold text that is not valid UTF-8")])

    def _paced(self, pace: Pace, proof: Secret | Token | None) -> Any:
        """Connect, with little time for each of several addresses at first, and more if none of them answers."""
        began, deadline = time.monotonic(), current_deadline.get()
        addresses, most = self._count(pace.addresses), int(self._params["connect_timeout"])
        left = pace.timeout if deadline is None else min(pace.timeout, deadline.left())
        seconds = first_timeout(left, addresses, most)
        while True:
            since = time.monotonic()
            try:
                return self._attempt(proof, connect_timeout=seconds)
            except self._failures:
                now = time.monotonic()
                # by the pool's own timeout: others wait for this connection too, and may have more time
                left = pace.timeout - (now - began)
                longer = longer_timeout(left, addresses, most, before=seconds, took=now - since)
                if longer is None:
                    raise
            seconds = longer

    def _attempt(self, proof: Secret | Token | None, **more: Any) -> Any:
        with self._gate():
            return self._connect(**{**self._params, **more}, **self._revealed(proof))

    def _name_fault_of_certificate(self, error: BaseException) -> None:
        host, port, authorities = (self._params.get(name) for name in ("host", "port", "sslrootcert"))
        if _UNVERIFIED not in str(error) or not host or "," in str(host) or not authorities:
            return
        from dbkit.runtime.certificates import fault_of_certificate  # only for a mistake

        reason = fault_of_certificate(str(host), int(port or DEFAULT_PORT), str(authorities))
        if reason is not None:
            _add_line(error, f"the server's certificate was refused: {reason} (sslrootcert={authorities})")

    # ---- what differs on an event loop

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the credential, which may block."""
        return question()

    def _count(self, addresses: Addresses) -> int:
        """Count the server's addresses, which may block."""
        with self._gate():
            return addresses.count()

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _gate(self) -> AbstractContextManager[None]:
        """Around the driver's own connecting: what a fork waits for."""
        return connecting()

    def _revealed(self, proof: Secret | Token | None) -> dict[str, str]:
        revealed = {key: secret.reveal() for key, secret in self._secrets.items()}
        if proof is not None:
            revealed["password"] = text_of(proof).reveal()
        return revealed

    def __repr__(self) -> str:
        return f"<Connector to {self._target}>"


def origins(settings: DatabaseSettings, given: BaseCredential | None = None) -> str:
    """Where the host, user and password came from, in one line without secrets.

    Args:
        settings: who connects to what.
        given: the credential that was given in code, in place of the settings'.
    """
    password = f"{given!r}, given in code" if given is not None else settings.origin("password")
    found = {"host": settings.origin("host"), "user": settings.origin("username"), "password": password}
    return ", ".join(f"{name} from {origin}" for name, origin in found.items())


def _add_line(error: BaseException, line: str) -> None:
    """Add a line to an error's text, so that log lines show it too, and not tracebacks alone.

    The error stays what it is: its class, SQLSTATE and ``diag``. The line is indented as libpq's advice is, and skipped
    where the text is judged (``diagnosis/answers.py``).
    """
    match error.args:
        case (str() as text, *more) if not isinstance(error, OSError | UnicodeError):
            if line not in text:
                error.args = (f"{text.rstrip()}\n\t{line}", *more)
        case _:  # its text is made of something else than words
            error.add_note(line)
