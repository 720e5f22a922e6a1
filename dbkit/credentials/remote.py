"""Credentials that somebody else gives: cached, asked for once for all callers, and never waited for without an end.

Who owns what: a ``RemoteCredential`` has the ``Lease`` of the token at hand and the one *flight* under way, both read
and written under its lock. A flight is one call of the provider, on a thread of its own, which any number of callers
wait for. Invariants:

1. Under the lock there is no I/O, no logging and no waiting.
2. At most one flight is under way, unless it has hung for longer than ``timeout``: then the next caller starts
   another, up to ``MOST_ASTRAY``. What a late one brings is kept if it is the better token.
3. No caller waits longer than ``timeout`` for a flight. None waits at all while the token at hand is usable.
4. A token the server rejected is given to nobody who asks after the rejection, unless the provider gives it again.
5. A forked child keeps the token, and nothing else: no lock and no flight of the parent's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from typing import ClassVar, Final

from dbkit.credentials.base import Lease, Token, said, text_of, without_tracebacks
from dbkit.credentials.errors import CredentialError
from dbkit.runtime.background import run_in_background
from dbkit.settings.secret import Secret

logger = logging.getLogger("dbkit.credentials")

MOST_ASTRAY: Final = 3
"""Calls of a provider that hung and may still be under way, beside the last; while there are so many, no further one is
begun."""

FUTILE: Final = 0.25
"""Seconds for which a provider that gave the rejected token again is not asked for another."""


def _pause(left: float) -> float:
    """Seconds until the next try, after a refresh in advance failed or brought nothing better."""
    return min(max(1.0, left / 10), 60.0)


class _Flight:
    """One call of the provider."""

    __slots__ = ("anew", "began", "done", "error", "got")

    def __init__(self, *, anew: bool) -> None:
        self.anew = anew
        self.began = time.monotonic()
        self.done = threading.Event()
        self.got: Secret | Token | None = None
        self.error: BaseException | None = None


class RemoteCredential:
    """Base class of what asks a provider. A subclass says how, in ``fetch()``; all the rest is here.

    Thread-safe, fork-safe, and shareable between any number of managers, which then share its token.

    Args:
        timeout: seconds a connect waits for the provider before it fails. A borrower waits no longer than his own
            ``timeout`` in any case.
    """

    gives_tokens: ClassVar[bool] = False
    """Whether all it gives are tokens, so that an unsafe route can be refused before anything is asked."""

    def __init__(self, *, timeout: float = 10.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < threading.TIMEOUT_MAX:
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        self.timeout = float(timeout)
        self._lease: Lease | None = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        """At birth, and in a forked child, where the parent's threads are not."""
        self._lock = threading.Lock()
        self._flight: _Flight | None = None
        self._astray = 0
        self._futile: tuple[Secret, float] | None = None
        """What was rejected and given again, and until when there is no use in asking."""
        self._not_before = 0.0
        """When the next refresh in advance may be tried, in seconds since the epoch."""
        self._pid = os.getpid()

    def _mind_forks(self) -> None:
        """Before the lock is taken: in a child it may be one that nobody will ever let go of."""
        if self._pid != os.getpid():
            self._start_afresh()

    # ---- for subclasses

    def fetch(self) -> str | Secret | Token:
        """Ask the provider. Called on a thread of its own; may block, and raise whatever it likes."""
        raise NotImplementedError

    def fetch_anew(self) -> str | Secret | Token:
        """As ``fetch()``, past any cache of the provider's own: the server rejected what it gave last."""
        return self.fetch()

    # ---- for the connector

    def current(self) -> Secret | Token:
        """The password or token to log in with now: at once while the one at hand is usable, else from the provider.

        Raises:
            CredentialError: the provider failed, gave nothing usable, or did not answer within ``timeout``.
        """
        self._mind_forks()
        now = time.time()
        with self._lock:
            lease = self._lease
            if lease is not None and now >= lease.unusable_at:
                lease = None
            if lease is not None and (now < lease.refresh_at or now < self._not_before or self._flight is not None):
                return lease.token
            flight, mine = self._join(anew=False)
        if mine:
            self._take_off(flight)
        return lease.token if lease is not None else self._await(flight)

    def renewed(self, rejected: Secret | Token) -> Secret | Token | None:
        """Another password or token than the one the server rejected; None if there is no other to be had.

        Asks the provider once for all callers with the same rejected one.

        Raises:
            CredentialError: as ``current()``.
        """
        self._mind_forks()
        refused = text_of(rejected)
        while True:
            with self._lock:
                lease = self._lease
                if lease is not None and lease.token.value != refused:
                    return lease.token  # another caller was here before
                if self._futile is not None and self._futile[0] == refused and time.monotonic() < self._futile[1]:
                    return None
                self._lease = None
                flight, mine = self._join(anew=True)
            if mine:
                self._take_off(flight)
            got = self._await(flight)
            if text_of(got) != refused:
                return got
            if flight.anew:
                with self._lock:
                    self._futile = (refused, time.monotonic() + FUTILE)
                return None

    def refresh(self) -> None:
        """Ask the provider now for what the next connects log in with, though the token at hand may still be good.

        Raises:
            CredentialError: as ``current()``; the token at hand stays in use.
        """
        self._mind_forks()
        while True:
            with self._lock:
                flight, mine = self._join(anew=True)
            if mine:
                self._take_off(flight)
            self._await(flight)
            if flight.anew:
                return

    def pending(self) -> str | None:
        """What is being waited for, as a sentence for somebody whose connect takes long; None for nothing."""
        flight = self._flight
        if flight is None:
            return None
        return f"{self!r} was asked {time.monotonic() - flight.began:.1f} s ago and has not answered yet"

    # ---- flights

    def _join(self, *, anew: bool) -> tuple[_Flight, bool]:
        """The flight to wait for, and whether it is the caller's to start once he has let go of the lock."""
        flight = self._flight
        if flight is not None:
            hangs = time.monotonic() - flight.began > self.timeout
            if not hangs or self._astray >= MOST_ASTRAY:
                return flight, False
            self._astray += 1
        self._flight = flight = _Flight(anew=anew)
        return flight, True

    def _take_off(self, flight: _Flight) -> None:
        run_in_background(partial(self._fly, flight))

    def _fly(self, flight: _Flight) -> None:
        try:
            flight.got = _checked(self.fetch_anew() if flight.anew else self.fetch())
        except BaseException as error:  # noqa: BLE001 - goes to whoever waits
            flight.error = without_tracebacks(error)
        finally:
            try:
                self._land(flight)
            finally:
                flight.done.set()

    def _land(self, flight: _Flight) -> None:
        now = time.time()
        with self._lock:
            timely = self._flight is flight
            if timely:
                self._flight = None
            else:
                self._astray -= 1
            before = self._lease
            brought = Lease.of(flight.got, now) if isinstance(flight.got, Token) else None
            better = brought is not None and brought.outlasts(before)
            if better or (timely and brought is not None):
                self._lease = brought
            self._not_before = 0.0 if better or before is None else now + _pause(before.unusable_at - now)
        if flight.error is not None and before is not None and now < before.unusable_at:
            logger.warning(
                "%r gave no token; the one at hand is used for another %.0f s: %s",
                self, before.unusable_at - now, said(flight.error),
            )  # fmt: skip

    def _await(self, flight: _Flight) -> Secret | Token:
        if not flight.done.wait(self.timeout):
            late = TimeoutError(f"no answer within {self.timeout:g} s")
            raise CredentialError(f"{self!r} did not answer within timeout={self.timeout:g} s", late) from late
        if flight.got is None:
            error = flight.error
            raise CredentialError(f"{self!r} failed: {said(error)}", error) from error
        return flight.got

    def __repr__(self) -> str:
        return type(self).__name__


def _checked(given: object) -> Secret | Token:
    """What a provider gave, if a login can be made of it.

    Raises:
        TypeError: it is neither text nor a ``Token``.
        ValueError: it is empty, or holds what no password can hold.
    """
    proof = Secret(given) if isinstance(given, str) else given
    if not isinstance(proof, Secret | Token):
        close = getattr(given, "close", None)
        if close is not None and hasattr(given, "__await__"):
            close()  # a coroutine nobody will await
        raise TypeError(f"it must give a str or a Token, not {type(given).__name__}")
    text = text_of(proof)
    if text == Secret(""):
        raise ValueError("it gave an empty text")
    flaw = text.flaw()
    if flaw is not None:
        raise ValueError(f"what it gave {flaw}")
    return proof
