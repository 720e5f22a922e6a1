"""Credentials that a provider gives: cached, fetched once for all callers, and waited for with a limit.

Who owns what: a ``RemoteCredential`` has the ``Lease`` of the token at hand and the one *fetch* under way, both read
and written under its lock. A fetch is one call of the provider, on a thread of its own, which any number of callers
wait for. Invariants:

1. Under the lock there is no I/O, no logging and no waiting.
2. At most one fetch is under way, unless it has hung for longer than ``timeout``: then the next caller starts
   another, up to ``MOST_HUNG``. A token that arrives late is kept if it is the better one.
3. No caller waits longer than ``timeout`` for a fetch. None waits at all while the token at hand is usable.
4. A token that the server rejected is not given again after the rejection, unless the provider repeats it.
5. A forked child keeps the token, and nothing else: no lock and no fetch of the parent's.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Final

from dbkit.credentials.base import BaseCredential, Lease, Token, checked_proof, said, text_of, without_tracebacks
from dbkit.credentials.errors import CredentialError
from dbkit.runtime import forks
from dbkit.runtime.threads import ThreadRuntime
from dbkit.settings.secret import Secret

logger = logging.getLogger("dbkit.credentials")

MOST_HUNG: Final = 3
"""Calls of a provider that hung and may still be under way, beside the last; while there are so many, no further one
begins."""

FUTILE: Final = 0.25
"""Seconds for which a provider that gave the rejected token again is not asked for another."""


def _pause(left: float) -> float:
    """Seconds until the next try, after a refresh in advance failed or brought nothing better."""
    return min(max(1.0, left / 10), 60.0)


class _Fetch:
    """One call of the provider."""

    __slots__ = ("began", "done", "error", "fresh", "got")

    def __init__(self, *, fresh: bool) -> None:
        self.fresh = fresh
        self.began = time.monotonic()
        self.done = threading.Event()
        self.got: Secret | Token | None = None
        self.error: BaseException | None = None


class RemoteCredential(BaseCredential):
    """Base class of credentials that ask a provider. A subclass says how, in ``fetch()``; all the rest is here.

    Thread-safe, fork-safe, and shareable between any number of managers, which then share its token.

    Args:
        timeout: seconds that a connection attempt waits for the provider before it fails. A borrower waits no longer
            than its own ``timeout`` in any case.
    """

    def __init__(self, *, timeout: float = 10.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < threading.TIMEOUT_MAX:
            raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
        self.timeout = float(timeout)
        self._lease: Lease | None = None
        self._begin()

    def _begin(self) -> None:
        """At birth, of a copy too: from here on, each forked child starts afresh."""
        self._start_afresh()
        forks.start_afresh(self, type(self)._start_afresh)

    def _start_afresh(self) -> None:
        """At birth, and in a forked child, where the parent's threads are not."""
        self._lock = threading.Lock()
        self._under_way: _Fetch | None = None
        self._hung = 0
        self._futile: tuple[Secret, float] | None = None
        """The text that was rejected and given again, and until when there is no use in asking."""
        self._not_before = 0.0
        """When the next refresh in advance may be tried, in seconds since the epoch."""

    # ---- for subclasses

    def fetch(self) -> str | Secret | Token:
        """Ask the provider. Called on a thread of its own; may block, and raise anything."""
        raise NotImplementedError

    def fetch_fresh(self) -> str | Secret | Token:
        """As ``fetch()``, past any cache of the provider's own: the server rejected the last token."""
        return self.fetch()

    # ---- for the connector

    def current(self) -> Secret | Token:
        """The password or token to log in with now: at once while the one at hand is usable, else from the provider.

        Raises:
            CredentialError: the provider failed, gave nothing usable, or did not answer within ``timeout``.
        """
        now = time.time()
        with self._lock:
            lease = self._lease
            if lease is not None and now >= lease.unusable_at:
                lease = None
            if lease is not None and (now < lease.refresh_at or now < self._not_before or self._under_way is not None):
                return lease.token
            fetch, mine = self._join(fresh=False)
        if mine:
            self._start(fetch)
        return lease.token if lease is not None else self._await(fetch)

    def renewed(self, rejected: Secret | Token) -> Secret | Token | None:
        """Another password or token than the one the server rejected; None if there is no other to be had.

        Asks the provider once for all callers with the same rejected one.

        Raises:
            CredentialError: as ``current()``.
        """
        refused = text_of(rejected)
        while True:
            with self._lock:
                lease = self._lease
                if lease is not None and lease.token.value != refused:
                    return lease.token  # another caller was here before
                if self._futile is not None and self._futile[0] == refused and time.monotonic() < self._futile[1]:
                    return None
                self._lease = None
                fetch, mine = self._join(fresh=True)
            if mine:
                self._start(fetch)
            got = self._await(fetch)
            if text_of(got) != refused:
                return got
            if fetch.fresh:
                with self._lock:
                    self._futile = (refused, time.monotonic() + FUTILE)
                return None

    def refresh(self) -> None:
        """Fetch a token for the next connections now, though the one at hand may still be good.

        Raises:
            CredentialError: as ``current()``; the token at hand stays in use.
        """
        while True:
            with self._lock:
                fetch, mine = self._join(fresh=True)
            if mine:
                self._start(fetch)
            self._await(fetch)
            if fetch.fresh:
                return

    def pending(self) -> str | None:
        """Says in a sentence for whom it waits at this moment; None for nobody."""
        fetch = self._under_way
        if fetch is None:
            return None
        return f"{self!r} was asked {time.monotonic() - fetch.began:.1f} s ago and has not answered yet"

    # ---- fetches

    def _join(self, *, fresh: bool) -> tuple[_Fetch, bool]:
        """The fetch to wait for, and whether the caller has to start it, after releasing the lock."""
        fetch = self._under_way
        if fetch is not None:
            hangs = time.monotonic() - fetch.began > self.timeout
            if not hangs or self._hung >= MOST_HUNG:
                return fetch, False
            self._hung += 1
        self._under_way = fetch = _Fetch(fresh=fresh)
        return fetch, True

    def _start(self, fetch: _Fetch) -> None:
        """Fetch on a thread of its own, or on the caller's if there is none to be had."""
        job = partial(self._run, fetch)
        if not ThreadRuntime().spawn(job, None):
            job()

    def _run(self, fetch: _Fetch) -> None:
        try:
            fetch.got = checked_proof(self.fetch_fresh() if fetch.fresh else self.fetch())
        except BaseException as error:  # noqa: BLE001 - goes to the callers that wait
            fetch.error = without_tracebacks(error)
        finally:
            try:
                self._keep(fetch)
            finally:
                fetch.done.set()

    def _keep(self, fetch: _Fetch) -> None:
        now = time.time()
        with self._lock:
            timely = self._under_way is fetch
            if timely:
                self._under_way = None
            else:
                self._hung -= 1
            before = self._lease
            brought = Lease.of(fetch.got, now) if isinstance(fetch.got, Token) else None
            better = brought is not None and brought.outlasts(before)
            if better or (timely and brought is not None):
                self._lease = brought
            self._not_before = 0.0 if better or before is None else now + _pause(before.unusable_at - now)
        if fetch.error is not None and before is not None and now < before.unusable_at:
            logger.warning(
                "%r gave no token; the one at hand is used for another %.0f s: %s",
                self, before.unusable_at - now, said(fetch.error),
            )  # fmt: skip

    def _await(self, fetch: _Fetch) -> Secret | Token:
        if not fetch.done.wait(self.timeout):
            late = TimeoutError(f"no answer within {self.timeout:g} s")
            raise CredentialError(f"{self!r} did not answer within timeout={self.timeout:g} s", late) from late
        if fetch.got is None:
            error = fetch.error
            raise CredentialError(f"{self!r} failed: {said(error)}", error) from error
        return fetch.got
