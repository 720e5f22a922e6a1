"""The profile's arithmetic: shares, quantiles, waiting caused, the lines to change first."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.core.profile import _SHOWN, EVERY, KEPT, Profile, Sample, Samples, profile_of


def here() -> None:
    """A call site."""


def there() -> None:
    """Another."""


def sample(
    function: object = here, *, held: float = 1.0, caused: float = 0.0, endpoint: str | None = None, ended: float = 0.0
) -> Sample:
    made = Sample(function.__code__, 1, endpoint)  # type: ignore[attr-defined]
    made.held, made.caused, made.ended = held, caused, ended
    return made


def test_shares_and_quantiles() -> None:
    found = profile_of(
        [*(sample(here, held=float(n)) for n in range(1, 101)), sample(there, held=50.0)], every=10, seconds=510.0
    )
    first, second = found.uses
    assert (first.where.split()[0], second.where.split()[0]) == ("here", "there")
    assert (first.share, second.share) == (5050 / 5100, 50 / 5100)
    assert (first.p50, first.p95, first.longest) == (50.0, 95.0, 100.0)
    assert (second.p50, second.p95, second.longest) == (50.0, 50.0, 50.0)
    assert (first.borrows, second.borrows) == (1000, 10)
    assert found.in_use == 100.0, "by Little's law: 5,100 s in 510 s, of one borrow in ten"


def test_of_few_samples_the_quantile_is_the_next_higher_one() -> None:
    found = profile_of([sample(held=float(n)) for n in (1, 2, 3)], every=1, seconds=1)
    assert (found.uses[0].p50, found.uses[0].p95) == (2.0, 3.0)


def test_nothing_was_held_for_any_time() -> None:
    assert profile_of([sample(held=0.0)], every=1, seconds=1).uses[0].share == 0.0


def test_those_who_make_others_wait_come_first() -> None:
    found = profile_of([sample(here, held=9), sample(there, held=1, caused=2)], every=64, seconds=1)
    assert [use.wait_caused for use in found.uses] == [128, 0]
    assert found.worst(1)[0].startswith("there ")


def test_the_worst_lines_are_added_up_over_their_endpoints() -> None:
    samples = [sample(here, caused=2, endpoint=name) for name in "ab"] + [sample(there, caused=3)]
    found = profile_of(samples, every=1, seconds=1)
    assert len(found.uses) == 3
    assert [where.split()[0] for where in found.worst()] == ["here", "there"]


def test_where_nobody_waited_the_worst_hold_longest_over_all_their_endpoints() -> None:
    samples = [sample(here, held=1, endpoint=name) for name in "ab"] + [sample(there, held=1.5)]
    assert [where.split()[0] for where in profile_of(samples, every=1, seconds=1).worst()] == ["here", "there"]


def test_a_sample_that_is_out_counts_as_far_as_it_went() -> None:
    out = Sample(here.__code__, 1, None)
    out.waited_before = 10.0
    out.look(now=5.0, since=2.0, waited=14.0, in_use=2)
    assert (out.held, out.caused, out.ended) == (3.0, 2.0, None)
    samples = Samples(began=0.0, every=1)
    assert [use.out for use in samples.profile(5.0, [out]).uses] == [1]


def test_one_that_is_out_alone_causes_all_the_waiting() -> None:
    out = Sample(here.__code__, 1, None)
    out.waited_before = 10.0
    out.look(now=5.0, since=2.0, waited=14.0, in_use=1)
    assert out.caused == 4.0


def test_nobody_is_blamed_for_what_was_before() -> None:
    out = Sample(here.__code__, 1, None)
    out.look(now=5.0, since=2.0, waited=14.0, in_use=1)
    assert out.caused == 0


def test_the_latest_are_kept_and_tell_of_their_time() -> None:
    samples = Samples(began=0.0, every=1)
    for n in range(KEPT + 100):
        samples.add(sample(ended=float(n)))
    found = samples.profile(KEPT + 100.0)
    assert (found.samples, found.seconds) == (KEPT, float(KEPT))


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_the_distance_varies_about_its_mean(every: int, chance: float) -> None:
    samples = Samples(began=0.0, every=every)
    assert 1 <= samples.distance(chance) <= 2 * every - 1
    numbers = [samples.distance((n + 0.5) / (2 * every - 1)) for n in range(2 * every - 1)]
    assert sum(numbers) / len(numbers) == every
    assert len(set(numbers)) == len(numbers)


def test_a_program_in_step_is_sampled_in_all_its_places() -> None:
    """Two borrows in turn: a fixed distance of 64 would meet one of them only."""
    import random

    chance = random.Random(1).random
    samples = Samples(began=0.0)
    places, at = set(), 0
    for _ in range(50):
        at += samples.distance(chance())
        places.add(at % 2)
    assert places == {0, 1}


def test_as_text_and_as_json() -> None:
    found = profile_of(
        [sample(here, held=0.5, caused=0.25, endpoint="GET /"), sample(there, held=1.5)], every=1, seconds=4
    )
    lines = repr(found).splitlines()
    assert lines[0] == "<Profile of 2 borrows, one in 1, of 4 s; 0.50 connections in use on average>"
    assert lines[1].split("  ")[0].strip() == "held"
    assert lines[2].split()[:2] == ["25.0%", "250.0"]
    assert lines[2].endswith("for GET /")
    assert "1. here (" in lines[5]
    as_json = json.loads(found.to_json())
    assert as_json["uses"][0]["endpoint"] == "GET /"
    assert as_json["worst"] == list(found.worst())
    assert as_json == json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize(("more", "said"), [(0, False), (3, True)])
def test_a_long_table_says_how_many_it_leaves_out(more: int, said: bool) -> None:
    found = profile_of([sample(endpoint=f"GET /{number}") for number in range(_SHOWN + more)], every=1, seconds=1)
    assert (repr(found).splitlines()[2 + _SHOWN] == f"and {more} more") is said


def test_times_and_columns() -> None:
    found = profile_of([sample(here, held=1.0), sample(there, held=0.0625)], every=1, seconds=1)
    head, *rows = repr(found).splitlines()[1:4]
    assert [row.split()[4:6] for row in rows] == [["1.00", "s"], ["62.5", "ms"]]
    assert {row.index(name + " (") for row, name in zip(rows, ("here", "there"), strict=True)} == {head.index("where")}


def test_nothing_yet() -> None:
    found = Samples(began=3.0).profile(3.0)
    assert found == Profile(every=EVERY, samples=0, seconds=0.0, in_use=0.0, uses=())
    assert repr(found).count("\n") == 0
    assert found.worst() == ()
