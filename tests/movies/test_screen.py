"""What is drawn, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from examples.movies.screen import BLOCKS, PLAIN, Glyphs, Sample, Screen, chart


class Stream(io.TextIOWrapper):
    """A stream in memory that may be a terminal."""

    def __init__(self, *, encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def written(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time the screen believes it is, in a list of one."""
    now = [100.0]
    monkeypatch.setattr("examples.movies.screen.monotonic", lambda: now[0])
    return now


def run_progress(screen: Screen, clock: list[float]) -> None:
    """A hundred steps in five seconds."""
    for done in range(101):
        screen.progress(done / 100, f"{done} of 100")
        clock[0] += 0.05


def test_a_terminal_gets_one_line_that_is_drawn_over(clock: list[float]) -> None:
    stream = Stream(terminal=True)
    screen = Screen(stream)
    run_progress(screen, clock)
    screen.say("done")
    drawn, last, rest = stream.written().split("\n")
    assert (last, rest) == ("done", "")
    first, *frames = drawn.split("\r")
    assert first == ""
    assert 30 <= len(frames) <= 60  # not one for each step
    assert frames[0].split() == [BLOCKS.idle * frames[0].count(BLOCKS.idle), "0%", "0", "of", "100"]
    assert frames[-1].split() == [BLOCKS.in_use * frames[-1].count(BLOCKS.in_use), "100%", "100", "of", "100"]
    assert len({len(frame) for frame in frames}) == 1  # nothing of a longer frame stays
    assert len(frames[0]) <= 80


def test_an_unfinished_bar_is_left_standing() -> None:
    stream = Stream(terminal=True)
    screen = Screen(stream)
    screen.progress(0.5, "half")
    screen.end_progress()
    screen.end_progress()
    assert stream.written().rstrip("\n").rstrip().endswith("50%  half")
    assert stream.written().count("\n") == 1


def test_elsewhere_there_is_a_line_now_and_then_and_no_control_character(clock: list[float]) -> None:
    stream = Stream()
    run_progress(Screen(stream), clock)
    *lines, last = stream.written().splitlines()
    assert last == "  100%  100 of 100"
    assert [round(int(line.split()[0].rstrip("%")), -1) for line in lines] == [40, 80]
    assert stream.written().replace("\n", "").isprintable()


def test_what_the_encoding_lacks_becomes_a_question_mark() -> None:
    stream = Stream(encoding="ascii")
    screen = Screen(stream)
    screen.say("CachÈ")
    assert stream.written() == "Cach?\n"
    assert screen.glyphs is PLAIN
    assert Screen(Stream()).glyphs is BLOCKS


def test_the_chart_shows_use_idle_and_waiting() -> None:
    samples = [Sample(0, 1, 0, 0), Sample(1, 1, 0, 0), Sample(2, 1, 1, 0), Sample(4, 0, 0, 2), Sample(4, 0, 0, 4)]
    assert chart(samples, max_size=4, seconds=0.5, glyphs=PLAIN) == [
        "       4 |  .##",
        "         |  .##",
        "       2 | .###",
        "       1 |.####",
        " waiting |   =#",
        "         0 s 0.5 s",
        "         # in use  . idle or opening  waiting: 4 at most",
    ]


@pytest.mark.parametrize("glyphs", [BLOCKS, PLAIN])
@pytest.mark.parametrize("count", [1, 10, 69, 70, 71, 1_000])
@pytest.mark.parametrize("max_size", [1, 3, 10, 100, 5_000])
def test_the_chart_fits_the_screen(glyphs: Glyphs, count: int, max_size: int) -> None:
    samples = [Sample(max_size * (i % 3) // 2, i % 2, 0, i % 50) for i in range(count)]
    lines = chart(samples, max_size=max_size, seconds=8, glyphs=glyphs)
    assert max(map(len, lines)) <= 80
    assert len(lines) == min(max_size, 10) + 3


def test_a_short_wait_is_not_lost_between_columns() -> None:
    samples = [Sample(1, 0, 0, 7 if i == 500 else 0) for i in range(1_000)]
    lines = chart(samples, max_size=1, seconds=100, glyphs=PLAIN)
    assert "waiting: 7 at most" in lines[-1]
    assert lines[1].count("#") == 1


def test_without_samples_there_is_nothing_to_draw() -> None:
    assert chart([], max_size=10, seconds=0) == ["(no samples)"]
