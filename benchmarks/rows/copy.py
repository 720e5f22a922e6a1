"""``copy_rows`` beside the session that most programs add their rows with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import perf_counter

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.measure import Bench, Case, Reading, Row
from benchmarks.results import Quantity, Target
from dbkit import DatabaseConnectionManager

ROWS, QUICK = 100_000, 5_000
COPY = "copy_rows"
ADD = "session.add_all"
UPSERT = "upsert_rows, all new"


class _Base(DeclarativeBase):
    pass


class _Film(_Base):
    __tablename__ = "bench_films"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    year: Mapped[int]


@contextmanager
def _cases(bench: Bench) -> Iterator[Mapping[str, Case]]:
    rows = bench.pick(ROWS, QUICK)
    with ExitStack() as stack:
        manager = stack.enter_context(DatabaseConnectionManager(bench.dsn))
        _Base.metadata.drop_all(manager.engine)
        _Base.metadata.create_all(manager.engine)
        stack.callback(_Base.metadata.drop_all, manager.engine)

        def values(share: float) -> Iterator[tuple[int, str, int]]:
            return ((number, f"film {number}", 1900 + number % 120) for number in range(int(rows * share)))

        def copy(share: float) -> None:
            manager.copy_rows(_Film, values(share))

        def upsert(share: float) -> None:
            manager.upsert_rows(_Film, values(share), key="id")

        def add(share: float) -> None:
            with manager.session_scope() as session:
                session.add_all([_Film(id=number, name=name, year=year) for number, name, year in values(share)])

        def case(work: Callable[[float], None]) -> Case:
            def read(share: float) -> Reading:
                manager.execute_query("TRUNCATE bench_films")
                began = perf_counter()
                work(share)
                return Reading({"time": perf_counter() - began})

            return read

        yield {COPY: case(copy), UPSERT: case(upsert), ADD: case(add)}


ROW = Row(
    name="copy",
    title=f"{ROWS:,} rows of three columns into a table, from a generator",
    notes=f"The table is empty before. A quick run: {QUICK:,} rows.",
    quantities=(Quantity("time", "seconds"),),
    targets=(Target(quantity="time", of=ADD, to=COPY, at_least=10.0),),
    runs=(3, 2),
    rounds=(1, 1),
    seconds=(90, 10),
    cases=_cases,
)
