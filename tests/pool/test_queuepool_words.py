"""QueuePool's arguments, read: pure."""

from __future__ import annotations

from typing import Any

import pytest

from dbkit.core.policy import UNLIMITED, PoolPolicy
from dbkit.errors import SettingsError
from dbkit.pool.queuepool import policy_of, sizes_from_queuepool


@pytest.mark.parametrize(
    ("recycle", "max_lifetime", "expected"),
    [(-1, 9.0, 9.0), (0, 9.0, 9.0), (1, 9.0, 1), (0.5, None, 0.5), (20, 9.0, 9.0), (-1, None, None), ("5", 9.0, 9.0)],
)
def test_the_smaller_of_recycle_and_max_lifetime_holds(recycle: Any, max_lifetime: Any, expected: Any) -> None:
    assert policy_of({"max_lifetime": max_lifetime}, None, None, recycle).max_lifetime == expected


def test_text_is_read_and_all_else_left() -> None:
    policy = policy_of({"timeout": "2.5", "max_waiting": "7", "max_idle": None, "max_lifetime": 60}, None, None, -1)
    assert (policy.timeout, policy.max_waiting, policy.max_idle, policy.max_lifetime) == (2.5, 7, None, 60)


@pytest.mark.parametrize(
    ("given", "pool_size", "max_overflow", "expected"),
    [
        ({}, None, None, {"max_size": 15, "min_size": PoolPolicy.min_size}),
        ({}, 1, 0, {"max_size": 1, "min_size": 1}),
        ({}, 4, 1, {"max_size": 5, "min_size": PoolPolicy.min_size}),
        ({"min_size": 3}, 4, 1, {"max_size": 5}),
        ({}, 0, None, {"max_size": UNLIMITED}),
        ({}, 3, -1, {"max_size": UNLIMITED}),
    ],
)
def test_sizes(given: dict[str, object], pool_size: object, max_overflow: object, expected: dict[str, int]) -> None:
    assert sizes_from_queuepool(given, pool_size, max_overflow) == expected


@pytest.mark.parametrize(
    ("given", "pool_size", "max_overflow", "expected"),
    [
        ({}, -1, None, ["pool_size"]),
        ({}, None, -2, ["max_overflow"]),
        ({}, "4", True, ["pool_size", "max_overflow"]),
        ({}, 4.0, None, ["pool_size"]),
        ({}, None, 1.0, ["max_overflow"]),
        ({"max_size": 3}, 1, None, ["max_size"]),
        ({"max_size": 3}, -1, -2, ["pool_size", "max_overflow", "max_size"]),
    ],
)
def test_every_word_that_is_wrong_is_named(
    given: dict[str, object], pool_size: object, max_overflow: object, expected: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        sizes_from_queuepool(given, pool_size, max_overflow)
    assert [fault.key for fault in caught.value.faults] == expected


def test_the_least_is_named() -> None:
    with pytest.raises(SettingsError, match=r"pool_size.*0 or more") as caught:
        sizes_from_queuepool({}, -1, -2)
    assert "-1 or more" in str(caught.value)
