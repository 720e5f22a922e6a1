"""The steps of one command, over all its attempts: which are done for good, which one is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dbkit.migrate.errors import PoolerError, RevisionFailedError

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep, StampStep

    from dbkit.migrate.progress import Progress

    Step = RevisionStep | StampStep
    Work = Callable[[Any, MigrationContext], Iterable[Step]]
    """The steps to run, given the revisions the database is at. Alembic's ``fn``."""

DIRECT = (
    "Set DB_MIGRATION_URL to a URL of the server itself, around the pooler: migrations use it, everything else "
    "goes through the pooler as before."
)


class Plan:
    """Alembic's ``fn``, made once and run as often as attempts are needed. Belongs to one thread.

    A relative target (``+1``) is resolved in the first attempt and then stays. With ``transaction_per_migration`` the
    steps that were committed are not planned again.

    Args:
        work: gives the steps.
        each_commits: every step is a transaction of its own (``transaction_per_migration``).
        may_commit: a step may commit in its middle (``autocommit_block``); it may not where the lock is the
            transaction's.
        progress: is told of each step.
    """

    def __init__(self, work: Work, *, each_commits: bool, may_commit: bool, progress: Progress) -> None:
        self._work = work
        self._each_commits = each_commits
        self._may_commit = may_commit
        self._progress = progress
        self._steps: list[Step] | None = None
        self._done_for_good = 0
        self._committed = False
        self._in_middle = False
        self.under_way: Step | None = None

    def __call__(self, heads: Any, context: MigrationContext) -> Iterator[Step]:
        """Give the steps that are still to be done. One is done when the next one is asked for."""
        if self._steps is None:
            self._steps = list(self._work(heads, context))
        steps, self._committed, self._in_middle = self._steps, False, bool(self._steps)
        if self._each_commits and not self._may_commit and steps:
            raise PoolerError(
                f"env.py asks for transaction_per_migration, and a pooler such as PgBouncer stands between: the lock "
                f"that keeps other processes out would end with the first transaction. Nothing was changed. {DIRECT}"
            )
        for index in range(self._done_for_good, len(steps)):
            self.under_way = steps[index]
            self._progress.begin(index + 1, len(steps), str(steps[index]))
            yield steps[index]
            self._progress.end()
            if self._each_commits:
                self._done_for_good, self._committed = index + 1, False
        self.under_way, self._in_middle = None, False

    def note_commit(self, _connection: object = None) -> None:
        """Take note that a transaction is about to be committed.

        Raises:
            PoolerError: it is committed in the middle, and must not be.
        """
        if self._in_middle and not self._may_commit:
            raise PoolerError(
                f"{self.under_way} commits in its middle (autocommit_block), and a pooler such as PgBouncer stands "
                f"between: the lock that keeps other processes out would end there. It was rolled back. {DIRECT}"
            )
        self._committed = True

    def note_rollback(self) -> None:
        """Take note that an attempt was rolled back, and another one follows."""
        self._in_middle = False

    @property
    def undone(self) -> bool:
        """Whether a rollback now leaves nothing of the attempt, but for steps that are done for good."""
        return not self._committed

    def failure(self, error: Exception, attempts: int) -> Exception:
        """The error to raise for one that came out of an attempt: itself, or one that names the revision."""
        if isinstance(error, RevisionFailedError | PoolerError) or not self._steps:
            return error
        step, steps = self.under_way, self._steps
        if step is not None:
            info = step.info
            revision = info.up_revision_id
            path = getattr(info.up_revision, "path", None)
            what = str(step) + (f" ({path})" if path else "")
        else:
            revision = None
            what = f"the commit of {', '.join(map(str, steps))}"
        self._progress.end("failed")
        undone = not self._committed and not self._done_for_good
        if undone:
            state = "It was rolled back as a whole: the database is as it was before."
        elif self._committed:
            state = "A part of it had been committed already (autocommit_block) and stays."
        else:
            state = f"It was rolled back; {', '.join(map(str, steps[: self._done_for_good]))} had been committed."
        tried = f" in the last of {attempts} attempts" if attempts > 1 else ""
        return RevisionFailedError(
            f"{what} failed{tried} with {type(error).__name__}: {error}\n{state}", revision, undone=undone
        )
