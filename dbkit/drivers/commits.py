"""The commit of an engine, looked at before and after it: what must not be lost without a word.

The server answers a ``COMMIT`` of an aborted transaction with ``ROLLBACK``, and no driver raises an error for that. And
a connection that is lost while ``COMMIT`` is under way leaves nobody knowing whether it took effect. Both are seen
here, where every road of SQLAlchemy passes, and libpq knows the answer without a round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from dbkit.drivers import for_dialect
from dbkit.drivers.base import Transaction

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import Dialect

_LOST = "_dbkit_lost_at_commit"


def check_commits(dialect: Dialect) -> None:
    """Make this dialect refuse to commit a transaction that an error aborted.

    It is rolled back, and ``PendingRollbackError`` is raised. Rolling back to a savepoint mends a transaction, so it
    may be committed then. An error by which a connection is lost during ``COMMIT`` is marked: see ``lost_at_commit``.
    Does nothing for a driver that cannot tell where a transaction stands.

    Args:
        dialect: an engine's own.
    """
    driver = for_dialect(dialect)
    if not driver.has_autocommit:
        return
    commit = dialect.do_commit

    def do_commit(dbapi_connection: Any) -> None:
        connection = getattr(dbapi_connection, "dbapi_connection", dbapi_connection)
        before = driver.transaction(connection)
        if before is Transaction.FAILED:
            connection.rollback()
            raise nothing_committed()
        try:
            if driver.tells_failed:
                commit(dbapi_connection)
            elif not driver.commit(connection):
                raise nothing_committed()
        except dialect.loaded_dbapi.Error as error:
            if before is Transaction.OPEN and (
                not driver.is_open(connection) or dialect.is_disconnect(error, connection, None)
            ):
                setattr(error, _LOST, True)
            raise

    commit_twophase, prepare_twophase = dialect.do_commit_twophase, dialect.do_prepare_twophase

    def refuse_aborted(connection: Connection) -> None:
        if driver.transaction(connection.connection.dbapi_connection) is Transaction.FAILED:
            raise nothing_committed()  # the rollback is SQLAlchemy's: the drivers have a call of its own for it

    def do_prepare_twophase(connection: Connection, xid: Any) -> None:
        refuse_aborted(connection)
        prepare_twophase(connection, xid)

    def do_commit_twophase(connection: Connection, xid: Any, is_prepared: bool = True, recover: bool = False) -> None:
        if not is_prepared:
            refuse_aborted(connection)
        commit_twophase(connection, xid, is_prepared=is_prepared, recover=recover)

    for method in (do_commit, do_prepare_twophase, do_commit_twophase):
        setattr(dialect, method.__name__, method)


def nothing_committed() -> exc.PendingRollbackError:
    """The error for a commit of an aborted transaction."""
    return exc.PendingRollbackError(
        "Nothing was committed: an error inside the block had aborted the transaction. "
        "Let the error out of the block, call rollback() where it is handled, or run what may fail in a savepoint "
        "(begin_nested())."
    )


def lost_at_commit(error: BaseException | None) -> bool:
    """Whether this error of the driver's is the loss of a connection on which ``COMMIT`` had been sent.

    Args:
        error: the driver's own (``DBAPIError.orig``).
    """
    return getattr(error, _LOST, False) is True
