"""The endpoint that a program serves, for the length of a block."""

from __future__ import annotations

from dbkit.runtime.endpoints import current, endpoint


def test_the_innermost_block_counts_and_ends_with_it():
    before = current.get()
    with endpoint("GET /orders"):
        assert current.get() == "GET /orders"
        try:
            with endpoint("its task"):
                assert current.get() == "its task"
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert current.get() == "GET /orders"
    assert current.get() == before
