"""Several hosts for asyncpg, whose own time is for all of them: it is given one after the other."""

from __future__ import annotations

import pytest

from dbkit.drivers.asyncpg_params import arguments, one_by_one


def order(**params):
    return [
        (one.get("host"), one.get("port"), one.get("target_session_attrs")) for one in one_by_one(arguments(params))
    ]


@pytest.mark.parametrize(("params", "expected"), [
    ({}, [(None, None, None)]),
    ({"host": "a", "port": 1, "target_session_attrs": "primary"}, [("a", 1, "primary")]),
    ({"host": "a,b"}, [("a", None, None), ("b", None, None)]),
    ({"host": "a,b", "port": "1"}, [("a", 1, None), ("b", 1, None)]),
    ({"host": "a,b", "port": "1,2", "target_session_attrs": "read-write"},
     [("a", 1, "read-write"), ("b", 2, "read-write")]),
    ({"host": "a,b", "port": "1,2", "target_session_attrs": "prefer-standby"},
     [("a", 1, "standby"), ("b", 2, "standby"), ("a", 1, "any"), ("b", 2, "any")]),
])  # fmt: skip
def test_in_which_order(params, expected):
    assert order(**params) == expected


def test_lists_that_do_not_match_are_left_to_asyncpg_to_refuse():
    assert order(host="a,b", port="1,2,3") == [(["a", "b"], [1, 2, 3], None)]
