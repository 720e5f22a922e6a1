"""What the program is serving at this moment, for the profile of a pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

current: ContextVar[str | None] = ContextVar("dbkit_endpoint", default=None)
"""The endpoint of this context; integrations may set it where a block does not fit (a middleware, a signal)."""


@contextmanager
def endpoint(name: str) -> Iterator[None]:
    """For the length of the block, this context's borrows count for this endpoint in ``pool.profile()``.

    Args:
        name: what people call it: ``GET /orders/{id}``, a task's name. Few and fixed ones: not the path of a request.
    """
    token = current.set(name)
    try:
        yield
    finally:
        current.reset(token)
