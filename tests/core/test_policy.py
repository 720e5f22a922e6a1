"""The pool's numbers: the defaults are those of README's table, and a bad one is refused by name."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest

from dbkit.core.policy import COUNTS, NAMES, OPTIONAL, PoolPolicy, find_faults
from dbkit.errors import SettingsError

README = Path(__file__).parents[2] / "README.md"


def documented() -> dict[str, tuple[str, float | None]]:
    """Return unit and default of each pool setting in README's table."""
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| ([\w.]+) \|", README.read_text(), re.MULTILINE)
    return {name: (unit, None if value == "none" else float(value)) for name, unit, value in rows if name in NAMES}


def test_the_defaults_are_those_of_the_table_in_the_readme():
    assert {name: default for name, (_, default) in documented().items()} == dataclasses.asdict(PoolPolicy())


def test_the_units_and_the_optional_ones_are_those_of_the_table():
    assert {name for name, (unit, _) in documented().items() if unit != "seconds"} == COUNTS
    assert {"max_waiting", "max_idle", "max_lifetime", "keepalive", "leak_after"} == OPTIONAL


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [-1, True, "3", math.nan, math.inf, [], -0.001])
def test_a_number_that_is_none_is_refused_by_name(name, bad):
    with pytest.raises(SettingsError) as caught:
        PoolPolicy(**{name: bad})
    assert [fault.key for fault in caught.value.faults] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_none_means_no_limit_where_it_may(name):
    assert bool(find_faults({name: None})) == (name not in OPTIONAL)


@pytest.mark.parametrize("name", NAMES)
def test_zero_is_refused_where_it_would_never_let_anything_live(name):
    refused = {"max_size", "max_idle", "max_lifetime", "keepalive", "leak_after"}
    numbers = {"min_size": 0, name: 0}
    assert bool(find_faults(numbers)) == (name in refused)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_a_count_is_a_whole_number(name):
    [fault] = find_faults({name: 2.5})
    assert fault.reason.startswith(f"must be a whole number, {1 if name == 'max_size' else 0} or more")
    assert ("None for no limit" in fault.reason) == (name in OPTIONAL)


@pytest.mark.parametrize("name", sorted(set(NAMES) - COUNTS))
def test_a_time_says_how_it_must_be(name):
    [wrong] = find_faults({name: "x"}, {name: "DB_X"})
    [negative] = find_faults({name: -1})
    assert (wrong.origin, negative.origin) == ("DB_X", "argument")
    assert wrong.reason.startswith("must be a number of seconds")
    assert negative.reason == (
        "must be above 0 seconds, or None for no limit" if name in OPTIONAL else "must be 0 seconds or more"
    )
    assert ("None for no limit" in wrong.reason) == (name in OPTIONAL)


def test_the_minimum_is_not_above_the_maximum():
    PoolPolicy(min_size=3, max_size=3)
    with pytest.raises(SettingsError, match=re.escape("min_size (4) is above max_size (3)")):
        PoolPolicy(min_size=4, max_size=3)
    assert find_faults({"max_size": 1}) == []
    assert len(find_faults({"min_size": 11})) == 1


def test_every_wrong_number_is_named():
    with pytest.raises(SettingsError) as caught:
        PoolPolicy(min_size=-1, timeout=-1, keepalive=0)
    assert [fault.key for fault in caught.value.faults] == ["min_size", "timeout", "keepalive"]


def test_the_default_minimum_gives_way_to_a_smaller_maximum_but_a_given_one_does_not():
    assert PoolPolicy.of(max_size=1).min_size == 1
    assert PoolPolicy.of(max_size=5).min_size == 2
    assert PoolPolicy.of(min_size=0, max_size=5).min_size == 0
    with pytest.raises(SettingsError):
        PoolPolicy.of(min_size=2, max_size=1)
    with pytest.raises(SettingsError):
        PoolPolicy.of(max_size="x")


def test_a_policy_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PoolPolicy().max_size = 3
