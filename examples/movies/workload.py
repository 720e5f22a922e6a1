"""Many threads at work in the shop at once, all on one pool."""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep
from typing import TYPE_CHECKING

from dbkit.core.stats import Histogram
from examples.movies.models import Order
from examples.movies.repositories import MoviesRepository, OrdersRepository, OutOfStockError, UsersRepository
from examples.movies.screen import Sample

if TYPE_CHECKING:
    from dbkit import AsyncDatabaseConnectionManager, DatabaseConnectionManager, PoolStats
    from dbkit.work import Work

CUSTOMERS = 100
SAMPLE_EVERY = 0.1
ARRIVAL = 0.25
"""The threads start one by one over this share of the time, so that the pool can be seen growing."""
PATIENCE = 10
"""Seconds the threads have, in all, to finish what they are doing."""
ERRORS_IN_A_ROW = 10
"""A thread that fails so often without one success between gives up."""


class EmptyShopError(Exception):
    """There are no movies, so there is nothing to ask for."""


@dataclass
class Outcome:
    """What the threads did.

    Attributes:
        seconds: how long they were at it.
        queries: SQL statements of the operations that succeeded; BEGIN and COMMIT are not counted.
        done: how often each operation succeeded.
        sold_out: orders refused because no copies were left, as they should be.
        errors: how often each operation failed, by its name and the error's text.
        samples: the pool, ten times a second, and once at least.
        borrows: how often a connection was borrowed.
        wait_time: how long those borrowers waited who had to stand in line.
        use_time: how long connections were out.
    """

    seconds: float = 0.0
    queries: int = 0
    done: Counter[str] = field(default_factory=Counter)
    sold_out: int = 0
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    borrows: int = 0
    wait_time: Histogram = field(default_factory=Histogram)
    use_time: Histogram = field(default_factory=Histogram)

    def succeeded(self, name: str, result: object) -> None:
        """An operation went through."""
        self.done[name] += 1
        self.queries += _statements(result)

    def failed(self, name: str, error: Exception) -> None:
        """An operation failed."""
        self.errors[name, f"{type(error).__name__}: {error}"] += 1

    def finish(self, parts: Sequence[Outcome], seconds: float, before: PoolStats, after: PoolStats) -> None:
        """Add up what all did, and what the pool counted meanwhile."""
        self.seconds = seconds
        self.borrows = after.borrows - before.borrows
        self.wait_time = _between(before.wait_time, after.wait_time)
        self.use_time = _between(before.use_time, after.use_time)
        for part in parts:
            self.queries += part.queries
            self.done += part.done
            self.errors += part.errors
            self.sold_out += part.sold_out


class Shop:
    """The three repositories on one manager, and what there is in them to ask for."""

    def __init__(self, db: Work) -> None:
        self.movies = MoviesRepository(db)
        self.users = UsersRepository(db)
        self.orders = OrdersRepository(db)
        sample = self.movies.sample()
        if not sample:
            raise EmptyShopError("there are no movies to work with")
        self.emails = [f"customer{number}@movies.example" for number in range(CUSTOMERS)]
        self.customers = [self.users.ensure(email, f"Customer {number}") for number, email in enumerate(self.emails)]
        self.movie_ids = [row.id for row in sample]
        self.words = [" ".join(re.findall(r"\w+", row.title)[:3]) for row in sample]
        self.genres = sorted({row.genre for row in sample if row.genre}) or [None]

    def operations(self, dice: Random) -> dict[str, tuple[int, Callable[[], object]]]:
        """What a visitor may do, by name: how often in 100, and how. ORM sessions and plain SQL mixed."""
        pick = dice.choice
        return {
            "search": (25, lambda: self.movies.search(pick(self.words))),
            "get movie": (25, lambda: self.movies.get(pick(self.movie_ids))),
            "top by gross": (12, lambda: self.movies.top_by_gross(genre=pick(self.genres))),
            "find user": (10, lambda: self.users.find(pick(self.emails))),
            "place order": (13, lambda: self.orders.place(pick(self.customers), self._basket(dice))),
            "order history": (12, lambda: self.orders.history(pick(self.customers))),
            "restock": (3, lambda: self.movies.restock(pick(self.movie_ids), 10)),
        }

    def _basket(self, dice: Random) -> dict[int, int]:
        return {dice.choice(self.movie_ids): dice.randint(1, 3) for _ in range(dice.randint(1, 3))}


def run(
    db: DatabaseConnectionManager,
    *,
    threads: int,
    seconds: float,
    on_sample: Callable[[float], None] = lambda elapsed: None,
) -> Outcome:
    """Let so many threads work for so many seconds, and watch the pool meanwhile.

    Args:
        db: the manager they share.
        threads: how many.
        seconds: how long.
        on_sample: called ten times a second on this thread, with the seconds since the start. What it raises ends
            the work: the threads finish what they are doing, and when all have ended it is raised from here.

    Raises:
        EmptyShopError: there are no movies to work with.
    """
    shop = Shop(db)
    stop = threading.Event()
    outcomes = [Outcome() for _ in range(threads)]
    crew = [
        threading.Thread(
            target=_work,
            args=(shop, Random(number), seconds * ARRIVAL * number / threads, stop, outcome),
            name=f"visitor-{number}",
            daemon=True,
        )
        for number, outcome in enumerate(outcomes)
    ]
    total = Outcome()
    before = db.stats()
    began = monotonic()
    try:
        for thread in crew:
            thread.start()
        while True:
            total.samples.append(sample(db))
            on_sample(monotonic() - began)
            if monotonic() >= began + seconds or not any(thread.is_alive() for thread in crew):
                break
            sleep(SAMPLE_EVERY)
    finally:
        stop.set()
        patience = monotonic() + PATIENCE
        for thread in crew:
            if thread.ident is not None:
                thread.join(max(0.0, patience - monotonic()))
    total.finish(outcomes, monotonic() - began, before, db.stats())
    total.errors.update(
        (thread.name, f"still at work {PATIENCE} s after the end") for thread in crew if thread.is_alive()
    )
    return total


def _work(shop: Shop, dice: Random, delay: float, stop: threading.Event, outcome: Outcome) -> None:
    """One visitor: comes after ``delay`` seconds, does one thing after the other until told to stop."""
    stop.wait(delay)
    operations = shop.operations(dice)
    names = list(operations)
    weights = list(itertools.accumulate(share for share, _ in operations.values()))
    failures = 0
    while not stop.is_set() and failures < ERRORS_IN_A_ROW:
        (name,) = dice.choices(names, cum_weights=weights)
        try:
            result = operations[name][1]()
        except OutOfStockError:
            outcome.sold_out += 1
        except Exception as error:  # noqa: BLE001 - kept, and shown at the end
            outcome.failed(name, error)
            failures += 1
        else:
            outcome.succeeded(name, result)
            failures = 0


def _statements(result: object) -> int:
    """How many statements an operation took, by its result: an order one for each movie and two for itself."""
    return len(result.items) + 2 if isinstance(result, Order) else 1


def _between(before: Histogram, after: Histogram) -> Histogram:
    """What was counted after the one and until the other."""
    during = after.copy()
    during.counts = [late - early for early, late in zip(before.counts, after.counts, strict=True)]
    during.total -= before.total
    return during


def sample(db: DatabaseConnectionManager | AsyncDatabaseConnectionManager) -> Sample:
    """The pool at this moment."""
    stats = db.stats()
    return Sample(in_use=stats.in_use, idle=stats.idle, opening=stats.opening, waiting=stats.waiting)
