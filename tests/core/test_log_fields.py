"""What log lines say for programs."""

from __future__ import annotations

from dbkit.core.log_fields import FIELDS, fields


def test_what_is_not_known_is_left_out_but_for_the_pools_name():
    assert fields("leaked", None) == {"dbkit_event": "leaked", "dbkit_pool": None}
    assert fields("leaked", "orders", seconds=0.0, failures=0, connections=2, thread="T") == {
        "dbkit_event": "leaked",
        "dbkit_pool": "orders",
        "dbkit_seconds": 0.0,
        "dbkit_failures": 0,
        "dbkit_connections": 2,
        "dbkit_thread": "T",
    }


def test_every_field_is_explained():
    given = fields("leaked", "orders", seconds=1.0, failures=1, connections=1, thread="T")
    assert {name.removeprefix("dbkit_") for name in given} == FIELDS.keys()
