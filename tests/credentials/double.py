"""A credential without a network, and a clock that it looks at."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from dbkit.credentials import Token, remote
from dbkit.testing import FakeClock

CANARY = "t0ken-canary"
LIFE = 3600.0
"""Seconds that a token lives."""

NEAR_ITS_END = LIFE - 200
"""Seconds after which a token is due for a refresh, but usable."""


class Double(remote.RemoteCredential):
    """Gives token-1, token-2, ...; can be held up at a gate and made to fail."""

    def __init__(self, *, life: float | None = LIFE, timeout: float = 10, plain: bool = False) -> None:
        super().__init__(timeout=timeout)
        self.life = life
        self.plain = plain
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.answer: object = None
        self.fetched: list[str] = []
        """How each fetch was asked for, in order."""

    def fetch(self):
        return self._give("fetch")

    def fetch_fresh(self):
        return self._give("fresh")

    def _give(self, how):
        number, answer = len(self.fetched) + 1, self.answer
        self.fetched.append(how)
        assert self.gate.wait(60), "nobody opened the gate"
        if self.error is not None:
            kept_in_this_frame = CANARY  # noqa: F841 - where an error tracker would find it
            raise self.error
        if answer is not None:
            return answer
        text = f"token-{number}"
        return text if self.plain else Token(text, None if self.life is None else remote.time.time() + self.life)

    def stay_inside(self) -> None:
        """Have this thread stay within the credential's lock, as in the midst of a step."""
        self._lock.acquire()


def text(proof):
    """What is sent to the server."""
    return (proof.value if isinstance(proof, Token) else proof).reveal()


def reading(clock: FakeClock) -> SimpleNamespace:
    """Stands in for the module ``time`` in ``remote``: a clock that stands still until the test sets it forward."""
    return SimpleNamespace(time=clock.time, monotonic=clock)
