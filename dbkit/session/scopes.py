"""Scopes: a session or a driver connection for the length of a block, committed or rolled back, always given back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from psycopg2 import extensions as driver
from sqlalchemy import exc

from dbkit.pool.server_checks import is_about_read_only
from dbkit.session.connection_state import Manners, say

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

logger = logging.getLogger("dbkit.session.scopes")


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """SQLAlchemy's ``sessionmaker`` for this engine, with SQLAlchemy's own defaults."""
    from sqlalchemy.orm import sessionmaker  # not before it is needed: the ORM is half of SQLAlchemy's import time

    return sessionmaker(engine)


@contextmanager
def session_scope(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session for the length of the block: committed at its end, or rolled back if it raises anything at all.

    The connection goes back to the pool in either case, also after ``KeyboardInterrupt`` and when a generator that
    holds the scope is abandoned. It is borrowed at the first statement, not before. The block may commit in between.
    A scope within a scope is a session of its own, with a connection and a transaction of its own.

    As with any SQLAlchemy session, objects are expired by the commit. To read them after the block, make the
    sessions with ``expire_on_commit=False`` (``db.sessions.configure(expire_on_commit=False)``).

    Args:
        sessions: makes the session.

    Raises:
        whatever the block raises, unchanged, or what the commit raises (``sqlalchemy.exc.IntegrityError``, ...).

    A session belongs to one thread; any number of threads may have scopes.
    """
    session = sessions()
    try:
        yield session
        session.commit()
    except BaseException:
        try:
            session.rollback()
        except Exception:
            logger.warning("The rollback failed too; the connection is discarded.", exc_info=True)
            session.invalidate()
        raise
    finally:
        session.close()


@contextmanager
def raw_connection(engine: Engine) -> Iterator[driver.connection]:
    """The psycopg2 connection itself, out of the pool, for the length of the block: COPY, LISTEN, server-side cursors.

    Committed at the end of the block, or rolled back if it raises anything at all; always given back, with the
    ``autocommit``, ``isolation_level``, ``readonly``, ``deferrable`` and ``cursor_factory`` it came with. Errors are
    psycopg2's own. A connection that is lost or closed in the block is replaced by the pool. What SQL changes in
    the session (``SET``, ``LISTEN``, temporary tables) stays with the connection. A child forked inside the block
    leaves the connection, which is its parent's, alone.

    Args:
        engine: whose pool to borrow from.

    Raises:
        whatever the block raises, unchanged.
        sqlalchemy.exc.PendingRollbackError: the block ended well, but an error it did not pass on had aborted its
            transaction, so that nothing could be committed.
        sqlalchemy.exc.OperationalError: the connection could not be opened.
        PoolTimeoutError: no connection could be had in time.
    """
    with engine.connect() as borrowed:
        fairy: Any = borrowed.connection
        connection: driver.connection = fairy.dbapi_connection
        manners = Manners.of(connection)
        tidied = False  # until it is: an exception from outside may strike the tidying, too
        try:
            try:
                yield connection
                if fairy.dbapi_connection is connection:  # else it is the parent's: the block ends in a forked child
                    _commit(connection)
            except BaseException as error:
                if fairy.dbapi_connection is not connection:
                    pass
                elif is_about_read_only(engine.pool, error) and not connection.readonly:
                    engine.pool._invalidate(borrowed.connection, error, _checkin=False)
                    connection.close()
                elif engine.dialect.is_disconnect(cast("Any", error), cast("Any", connection), None):
                    connection.close()
                raise
            finally:
                tidied = fairy.dbapi_connection is not connection or manners.restore(connection)
        finally:
            if not tidied:
                borrowed.invalidate()


_CLOSED_BY_BORROWER = 1
"""What psycopg2 says of a connection after ``close()``; one that broke is 2, and its commit an error."""


def _commit(connection: driver.connection) -> None:
    if connection.closed == _CLOSED_BY_BORROWER:
        return  # as he may; the driver rolled back
    if connection.get_transaction_status() == driver.TRANSACTION_STATUS_INERROR:
        raise exc.PendingRollbackError(
            "Nothing was committed: an error inside the block had aborted the transaction. "
            "Let the error out of the block, or call rollback() where it is handled."
        )
    connection.commit()
    if (
        connection.get_transaction_status() != driver.TRANSACTION_STATUS_IDLE
    ):  # autocommit, and a BEGIN of the borrower's
        say(connection, "COMMIT")
