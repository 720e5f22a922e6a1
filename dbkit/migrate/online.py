"""One Alembic command on one connection: the lock, the limits, the attempts, and an error that names the revision."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from dbkit.drivers import for_dialect
from dbkit.migrate import manners
from dbkit.migrate.lock import locked_transaction, migration_lock
from dbkit.migrate.plan import Plan
from dbkit.migrate.progress import Progress
from dbkit.migrate.retrying import pause_before_retry

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

logger = logging.getLogger("dbkit.migrate")


class Online:
    """Runs the command that ``env.py`` has configured. Belongs to one thread.

    Args:
        context: ``alembic.context``, configured with the connection and the options.
        connection: the one to run on.
        options: for ``context.configure``.
        timeout: seconds to wait for another process's migration and for tables in use, all in all.
        lock_timeout: seconds a statement may wait for a table each time; 0 for no limit.
    """

    def __init__(
        self, context: Any, connection: Connection, options: dict[str, Any], *, timeout: float, lock_timeout: float
    ) -> None:
        self._context = context
        self._connection = connection
        self._options = options
        self._lock_timeout = lock_timeout
        self._deadline = time.monotonic() + timeout
        migration: MigrationContext = context.get_context()
        schema = migration.version_table_schema
        self._table = f"{schema}.{migration.version_table}" if schema else migration.version_table
        self._work = migration.opts["fn"]
        self._each_commits = bool(migration.opts.get("transaction_per_migration"))
        self._progress = Progress()

    def run(self) -> None:
        """Run the command in transactions of its own, again where others use a table, until the deadline.

        Raises:
            MigrationError: another process still has the lock.
            RevisionFailedError: a revision failed; all that was not committed was rolled back.
            PoolerError: a pooler stands between, and one transaction is not enough.
        """
        connection = self._connection
        with self._guarded():
            pooled = manners.behind_pooler(connection)
            connection.rollback()
            checks = manners.can_check_client(connection)
            if pooled:
                logger.info("a pooler stands between; the lock is held by one transaction")
                self._attempts(self._lock_each_time, check_client=checks, may_commit=False)
            else:
                with self._checking_client(checks), migration_lock(connection, self._table, timeout=self._left()):
                    self._attempts(self._context.begin_transaction, check_client=False, may_commit=True)

    def run_in_callers_transaction(self) -> None:
        """Run the command in the transaction that its caller began, and ends. It is not tried again."""
        connection = self._connection
        plan = self._plan(may_commit=True)
        with self._guarded(), migration_lock(connection, self._table, timeout=self._left()):
            before = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
            value = f"{round(self._lock_timeout * 1000)}ms"
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{value}'")
            try:
                self._context.run_migrations()
            except Exception as error:
                raised = plan.failure(error, 1)
                if raised is error:
                    raise
                raise raised from error
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{before}'")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._progress.end("stopped")

    def _plan(self, *, may_commit: bool) -> Plan:
        """Put a plan in place of Alembic's ``fn``."""
        plan = Plan(self._work, each_commits=self._each_commits, may_commit=may_commit, progress=self._progress)
        self._context.configure(connection=self._connection, **{**self._options, "fn": plan})
        return plan

    def _attempts(
        self, begin: Callable[[], AbstractContextManager[object]], *, check_client: bool, may_commit: bool
    ) -> None:
        connection, plan = self._connection, self._plan(may_commit=may_commit)
        attempt = 1
        with manners.in_each_transaction(
            connection, lock_timeout=self._lock_timeout, check_client=check_client, on_commit=plan.note_commit
        ):
            while True:
                try:
                    with begin():
                        self._context.run_migrations()
                    return
                except Exception as error:
                    pause = self._pause(error, plan, attempt)
                    if pause is None:
                        raised = plan.failure(error, attempt)
                        if raised is error:
                            raise
                        raise raised from error
                connection.rollback()
                plan.note_rollback()
                self._tell(plan, pause)
                time.sleep(pause)
                attempt += 1

    def _pause(self, error: Exception, plan: Plan, attempt: int) -> float | None:
        cause = error.orig if isinstance(error, exc.DBAPIError) else None
        state = for_dialect(self._connection.dialect).sqlstate(cause)
        return pause_before_retry(
            state, undone=plan.undone, attempt=attempt, time_left=self._left(), luck=random.random()
        )

    def _tell(self, plan: Plan, pause: float) -> None:
        line = (
            f"{plan.under_way} waited {self._lock_timeout:g} s for a table that others use; it was rolled back, and "
            f"is tried again in {pause:.1f} s, for up to {self._left():.0f} s more"
        )
        logger.info("%s", line)
        self._progress.note(line)

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    @contextmanager
    def _lock_each_time(self) -> Iterator[None]:
        with locked_transaction(self._context.begin_transaction, self._connection, self._table, timeout=self._left()):
            yield

    @contextmanager
    def _checking_client(self, can: bool) -> Iterator[None]:
        """Make the server look after its client for the whole session, in autocommit blocks too."""
        if not can:
            yield
            return
        connection = self._connection
        before = manners.check_client(connection)
        with ExitStack() as later:
            later.callback(self._put_back, before)
            yield

    def _put_back(self, before: str) -> None:
        connection = self._connection
        if connection.closed or connection.invalidated:
            return
        try:
            connection.rollback()
            manners.put_back(connection, before)
        except exc.SQLAlchemyError:
            connection.invalidate()
