"""The pool's numbers: what text spells, and what is refused."""

from __future__ import annotations

import math
import typing
from dataclasses import fields

import pytest

from dbkit.core import policy
from dbkit.core.policy import NAMES, PoolNumbers, PoolPolicy, check_seconds, find_faults, read_flag, read_number
from dbkit.errors import SettingsError


def test_the_keyword_arguments_are_the_policys_fields():
    assert typing.get_type_hints(PoolNumbers) == typing.get_type_hints(PoolPolicy)
    assert tuple(PoolNumbers.__annotations__) == NAMES == tuple(field.name for field in fields(PoolPolicy))


@pytest.mark.parametrize("name, text, number", [
    ("max_size", "3", 3), ("min_size", " 0 ", 0), ("timeout", "2.5", 2.5), ("timeout", "1e1", 10.0),
    ("max_idle", "none", None), ("max_idle", "None", None), ("max_waiting", "NONE", None), ("max_waiting", "7", 7),
])  # fmt: skip
def test_text_is_read_as_the_number_it_spells(name, text, number):
    assert read_number(name, text) == number
    assert getattr(PoolPolicy.of(**{name: text}), name) == number


@pytest.mark.parametrize("name, value", [
    ("max_size", "ten"), ("max_size", "3.0"), ("max_size", "none"), ("max_size", ""), ("max_size", 0),
    ("max_size", True), ("timeout", "1_0"), ("timeout", "none"), ("timeout", "nan"), ("timeout", math.nan),
    ("timeout", math.inf), ("timeout", 10**400), ("timeout", 1e10), ("timeout", -1), ("max_idle", ""), ("max_idle", 0),
    ("max_idle", "0"), ("max_idle", -math.inf), ("max_waiting", -1), ("timeout", None), ("timeout", [1]),
])  # fmt: skip
def test_what_is_no_such_number_is_refused_and_named(name, value):
    with pytest.raises(SettingsError) as caught:
        PoolPolicy.of(**{name: value})
    [fault] = caught.value.faults
    assert (fault.key, fault.origin) == (name, "argument")
    assert ("None for no limit" in fault.reason) is (name in policy.OPTIONAL)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(SettingsError) as caught:
        PoolPolicy.of(max_size="many", timeout=math.nan, leak_after=0)
    assert [fault.key for fault in caught.value.faults] == ["max_size", "timeout", "leak_after"]


def test_none_is_no_limit_where_there_may_be_none():
    assert find_faults(dict.fromkeys(policy.OPTIONAL)) == []


def test_the_default_minimum_is_never_above_a_maximum_given_as_text():
    assert PoolPolicy.of(max_size="1").min_size == 1


@pytest.mark.parametrize("text", ["true", "True", " yes ", "on", "1", True, 1])
def test_what_says_true(text):
    assert read_flag("require_writer", text) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "no", "off", "0", False, 0])
def test_what_says_false(text):
    assert read_flag("require_writer", text) is False


@pytest.mark.parametrize("value", ["", "y", "maybe", 2, None, 1.0])
def test_what_says_neither_is_refused(value):
    with pytest.raises(SettingsError, match=r"require_writer.*must be true or false"):
        read_flag("require_writer", value)


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, policy.LONGEST])
def test_a_time_to_wait(value):
    assert check_seconds("timeout", value) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, None, "x", "1", True, 1e10, 10**400])
def test_what_is_no_time_to_wait(value):
    [fault] = check_seconds("timeout", value)
    assert (fault.key, fault.value) == ("timeout", repr(value))
    assert "seconds" in fault.reason


def test_a_pool_without_a_maximum_shows_no_limit():
    assert policy.show_size(policy.UNLIMITED) == "no limit"
    assert policy.show_size(10) == "10"
    assert PoolPolicy.of(max_size=policy.UNLIMITED).min_size == 2
