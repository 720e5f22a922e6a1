"""What comes from outside made fit for the ``movies`` table, one record at a time. Pure: no I/O, no clock.

A record in a file of movies is an object with the keys ``Title``, ``US Gross``, ``Release Date`` and so on, and any of
its values may be wrong. Invariants:

1. Only a record that names no movie is skipped; every other arrives, whatever else is wrong with it.
2. Nothing is changed in silence: whatever arrives different from what was read leaves a ``Note``.
3. What arrives, the database takes: every check constraint of ``Movie`` holds.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
"""The values of one movie, by column of ``Movie``."""

TITLE_LENGTH = 500
FIRST_FILM = 1888
ENOUGH_TO_TELL = 100
"""So many dates tell the year a list was made; fewer do not."""
ANNOUNCED = 1
"""A list may hold the films announced for so many years after the year it was made."""
DOUBTFUL = 4
"""Up to so many years after, a date may be an early announcement as well as a wrong century."""

_TEXTS = {
    "Director": "director",
    "Distributor": "distributor",
    "Major Genre": "genre",
    "Creative Type": "creative_type",
    "Source": "source",
    "MPAA Rating": "mpaa_rating",
}
_WHOLE_NUMBERS = {  # each with the least and the greatest value that can be
    "Running Time min": ("running_time_minutes", 1, 2**31 - 1),
    "Production Budget": ("production_budget", 0, 2**63 - 1),
    "US Gross": ("us_gross", 0, 2**63 - 1),
    "Worldwide Gross": ("worldwide_gross", 0, 2**63 - 1),
    "US DVD Sales": ("us_dvd_sales", 0, 2**63 - 1),
    "Rotten Tomatoes Rating": ("rotten_tomatoes_rating", 0, 100),
    "IMDB Votes": ("imdb_votes", 0, 2**31 - 1),
}
_MONTHS = {  # not the calendar module's: those names follow the locale
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_DATES = (
    re.compile(r"(?P<month>[a-z]{3})[a-z]* (?P<day>\d{1,2}),? (?P<year>\d{4}|\d\d)", re.ASCII),  # Jun 12 1998
    re.compile(r"(?P<day>\d{1,2})[- ](?P<month>[a-z]{3})[a-z]*[- ](?P<year>\d{4}|\d\d)", re.ASCII),  # 12-Jun-98
    re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)", re.ASCII),  # 1998-06-12
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no PostgreSQL text holds these


class Kind(StrEnum):
    """What was done about something wrong."""

    NUMBER_AS_TITLE = "a number as the title became text"
    YEAR_CORRECTED = "a release year in the future was taken back 100 years"
    EMPTIED = "a value that cannot be was left empty"
    TEXT_REPAIRED = "a text that cannot be stored was shortened or had characters replaced"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Note:
    """One thing that was wrong with a record.

    Attributes:
        kind: what was done about it.
        position: the record's place in its list, counted from 0.
        title: the movie's title; empty where there is none.
        field: the key in the record.
        found: the value as it was read, shortened.
        reason: why it was not taken as it is, or what it became.
    """

    kind: Kind
    position: int
    title: str
    field: str
    found: str
    reason: str

    def __str__(self) -> str:
        name = f" {self.title!r}:" if self.title else ""
        return f"record {self.position}:{name} {self.field} {self.found}: {self.reason}"


def infer_as_of(records: Iterable[Any], *, this_year: int) -> int:
    """The year a list of movies was made, told by its own dates.

    It is the last year with at least a tenth as many movies as the busiest year: a list ends with a full year,
    while years guessed wrongly are scattered one by one. Never later than ``this_year``, which is also the answer
    where there are too few dates to tell.
    """
    dates = (_read_date(record) for record in records)
    years = Counter(int(found["year"]) for found in dates if found and len(found["year"]) == 4)
    if years.total() < ENOUGH_TO_TELL:
        return this_year
    enough = max(years.values()) / 10
    return min(max(year for year, movies in years.items() if movies >= enough), this_year)


def clean(record: Any, position: int, *, as_of: int) -> tuple[Row | None, list[Note]]:
    """Make one record fit for the table.

    Args:
        record: one element of the list, as JSON gave it.
        position: its place in the list, counted from 0; for the notes.
        as_of: the year the list was made. Later release years are judged by ``_release_date``.

    Returns:
        The row with every column of the record, or None if it names no movie; and what was wrong.
    """
    return _Cleaning(position, as_of).clean(record)


class _Cleaning:
    """One record on its way."""

    def __init__(self, position: int, as_of: int) -> None:
        self.position = position
        self.as_of = as_of
        self.title = ""
        self.notes: list[Note] = []

    def note(self, kind: Kind, field: str, found: object, reason: str) -> None:
        self.notes.append(Note(kind, self.position, self.title, field, _shown(found), reason))

    def clean(self, record: Any) -> tuple[Row | None, list[Note]]:
        if not isinstance(record, Mapping):
            self.note(Kind.SKIPPED, "record", record, "not an object")
            return None, self.notes
        title = self._title(record.get("Title"))
        if title is None:
            self.note(Kind.SKIPPED, "Title", record.get("Title"), "no title")
            return None, self.notes
        self.title = title
        row: Row = {"title": title, "release_date": self._release_date(record.get("Release Date"))}
        for field, column in _TEXTS.items():
            row[column] = self._text(field, record.get(field))
        for field, (column, least, greatest) in _WHOLE_NUMBERS.items():
            row[column] = self._whole_number(field, record.get(field), least, greatest)
        row["imdb_rating"] = self._number("IMDB Rating", record.get("IMDB Rating"), 0, 10)
        return row, self.notes

    def _title(self, value: Any) -> str | None:
        if _is_not_finite(value):
            return None
        if isinstance(value, int | float):
            title = str(value)
            self.title = title
            self.note(Kind.NUMBER_AS_TITLE, "Title", value, f"now the text {title!r}")
            return self._storable("Title", title)
        if isinstance(value, str) and _UNSTORABLE.sub("", value).strip():
            return self._storable("Title", value)
        return None

    def _text(self, field: str, value: Any) -> str | None:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, str):
            return self._storable(field, value)
        self._emptied(field, value, "not a text")
        return None

    def _storable(self, field: str, value: str) -> str:
        if _UNSTORABLE.search(value):
            self.note(Kind.TEXT_REPAIRED, field, value, "characters no database text can hold became U+FFFD")
            value = _UNSTORABLE.sub("\ufffd", value)
        if field == "Title" and len(value) > TITLE_LENGTH:
            self.note(Kind.TEXT_REPAIRED, field, value, f"{len(value):,} characters, cut after {TITLE_LENGTH}")
            value = value[:TITLE_LENGTH]
        return value

    def _whole_number(self, field: str, value: Any, least: int, greatest: int) -> int | None:
        number = self._number(field, value, least, greatest)
        if number is not None and number != int(number):
            self._emptied(field, value, "not a whole number")
            return None
        return None if number is None else int(number)

    def _number(self, field: str, value: Any, least: int, greatest: int) -> float | int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or _is_not_finite(value):
            self._emptied(field, value, "not a number")
            return None
        if not least <= value <= greatest:
            self._emptied(field, value, f"not within {least:,} and {greatest:,}")
            return None
        return value

    def _release_date(self, value: Any) -> date | None:
        """The day a movie came out; the century repaired where a reader of two-digit years guessed it wrongly.

        A list made in the year ``as_of`` holds what came out until then, and what was announced for the next year:
        such a date stays. A year 20xx more than ``DOUBTFUL`` years ahead was 19xx. In between nobody can tell, so
        the date is left empty, as is any that lies before the first film of all or after what could be announced.
        """
        if value is None:
            return None
        found = _read_date({"Release Date": value})
        if found is None:
            self._emptied("Release Date", value, "not a date such as Jun 12 1998")
            return None
        year = int(found["year"])
        if len(found["year"]) == 2:  # the last such year the list could know of
            newest = self.as_of + ANNOUNCED
            year = newest - (newest - year) % 100
        ahead = year - self.as_of
        corrected = ahead > DOUBTFUL and year // 100 == 20
        if ANNOUNCED < ahead <= DOUBTFUL:
            self._emptied("Release Date", value, f"{year} is too late for a list made in {self.as_of}")
            return None
        if corrected:
            year -= 100
        if not FIRST_FILM <= year <= self.as_of + ANNOUNCED:
            self._emptied("Release Date", value, "no movie came out in such a year")
            return None
        month = found["month"]
        try:
            released = date(year, _MONTHS[month] if month in _MONTHS else int(month), int(found["day"]))
        except ValueError:
            self._emptied("Release Date", value, "there is no such day")
            return None
        if corrected:
            self.note(Kind.YEAR_CORRECTED, "Release Date", value, f"now {released}")
        return released

    def _emptied(self, field: str, value: Any, reason: str) -> None:
        self.note(Kind.EMPTIED, field, value, f"{reason}; left empty")


def _read_date(record: Any) -> dict[str, str] | None:
    """Year, month and day as written, or None where no date is to be read."""
    value = record.get("Release Date") if isinstance(record, Mapping) else None
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    return next((found.groupdict() for form in _DATES if (found := form.fullmatch(text))), None)


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
