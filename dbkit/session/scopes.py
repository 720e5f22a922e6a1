"""Scopes: a session or a driver connection for the length of a block, committed or rolled back, always given back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from dbkit.drivers import for_dialect
from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.commits import nothing_committed
from dbkit.pool.server_checks import is_demoted
from dbkit.session.connection_state import IN_TRANSACTION, restore, send

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
def raw_connection(engine: Engine) -> Iterator[Any]:
    """The driver's connection itself, out of the pool, for the length of the block: COPY, LISTEN, server-side cursors.

    It is psycopg2's or psycopg 3's, as the engine's URL says, and errors are that driver's own. Committed at the end of
    the block, or rolled back if it raises anything at all. Always given back, and as it came: ``autocommit``,
    ``isolation_level``, read-only, ``deferrable``, ``cursor_factory``, and with psycopg 3 ``row_factory`` and
    ``prepare_threshold``. A connection that is lost or closed in the block is replaced by the pool. Changes that SQL
    made in the session (``SET``, ``LISTEN``, temporary tables) stay with the connection. A child forked inside the
    block leaves the connection, which is its parent's, alone.

    Args:
        engine: whose pool to borrow from.

    Raises:
        whatever the block raises, unchanged.
        sqlalchemy.exc.PendingRollbackError: the block ended well, but an error it did not pass on had aborted its
            transaction, so that nothing could be committed.
        sqlalchemy.exc.OperationalError: the connection could not be opened.
        PoolTimeoutError: no connection could be had in time.
    """
    driver = for_dialect(engine.dialect)
    with engine.connect() as borrowed:
        fairy: Any = borrowed.connection
        connection: Any = fairy.dbapi_connection
        state = driver.state(connection)
        tidied = False  # until it is: an exception from outside may strike the tidying, too
        try:
            try:
                yield connection
                if fairy.dbapi_connection is connection:  # else it is the parent's: the block ends in a forked child
                    _commit(driver, connection)
            except BaseException as error:
                if fairy.dbapi_connection is not connection:
                    pass
                elif is_demoted(engine.dialect, connection, error):
                    engine.pool._invalidate(borrowed.connection, error, _checkin=False)
                    connection.close()
                elif engine.dialect.is_disconnect(cast("Any", error), connection, None):
                    connection.close()
                raise
            finally:
                tidied = fairy.dbapi_connection is not connection or restore(driver, connection, state)
        finally:
            if not tidied:
                borrowed.invalidate()


def _commit(driver: Driver, connection: Any) -> None:
    if driver.closed_by_borrower(connection):
        return  # as it may; that rolled back
    if driver.transaction(connection) is Transaction.FAILED:
        raise nothing_committed()
    connection.commit()
    if driver.transaction(connection) in IN_TRANSACTION:  # autocommit, and a BEGIN of the borrower's
        send(connection, "COMMIT")
