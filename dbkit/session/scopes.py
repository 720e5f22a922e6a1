"""Scopes: a session or a driver connection for the length of a block, committed or rolled back, always given back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import exc

from dbkit.drivers import for_dialect
from dbkit.drivers.base import Driver, Transaction
from dbkit.drivers.bounded import bounded
from dbkit.drivers.commits import lost_at_commit, nothing_committed
from dbkit.pool.server_checks import is_demoted
from dbkit.session.connection_state import IN_TRANSACTION, restore, send
from dbkit.session.deadlines import by_deadline
from dbkit.session.errors import CommitOutcomeUnknown
from dbkit.session.one_transaction import let_go_if_cut_off
from dbkit.session.open_scopes import enter, innermost, leave
from dbkit.session.scope_settings import Value, ask_for, options_of_scope, tend, variant

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

logger = logging.getLogger("dbkit.session.scopes")


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """SQLAlchemy's ``sessionmaker`` for this engine, with SQLAlchemy's own defaults.

    Each transaction of its sessions begins with what ``db.deadline`` and ``db.settings_for`` ask for.
    """
    from sqlalchemy.orm import sessionmaker  # not before it is needed: the ORM is half of SQLAlchemy's import time

    sessions = sessionmaker(engine)
    tend(sessions)
    return sessions


@contextmanager
def session_scope(
    sessions: sessionmaker[Session],
    *,
    read_only: bool = False,
    isolation_level: str | None = None,
    timeout: float | None = None,
    settings: Mapping[str, Value] | None = None,
    nested: bool = False,
) -> Iterator[Session]:
    """A session for the length of the block: committed at its end, or rolled back if it raises anything at all.

    The connection goes back to the pool in either case, also after ``KeyboardInterrupt`` and when a generator that
    holds the scope is abandoned. It is borrowed at the first statement, not before. The block may commit in between;
    what the arguments ask for holds for each transaction of the block. After the block the session raises
    ``InvalidRequestError`` if it is used again.

    A scope within a scope is a session of its own, with a connection and a transaction of its own, unless it is
    ``nested``.

    As with any SQLAlchemy session, objects are expired by the commit. To read them after the block, make the
    sessions with ``expire_on_commit=False`` (``db.sessions.configure(expire_on_commit=False)``).

    Args:
        sessions: makes the session.
        read_only: the server refuses to write in this scope.
        isolation_level: ``"READ COMMITTED"``, ``"REPEATABLE READ"`` or ``"SERIALIZABLE"``; None for the engine's.
        timeout: seconds that each statement, and each wait for a lock, may take: ``statement_timeout`` and
            ``lock_timeout``, set by ``SET LOCAL``. Costs a round trip for each transaction. A server that does not
            stop a statement is given up shortly after, as for ``deadline``.
        settings: settings of the server for this scope, set by ``set_config(..., true)``: ``{"app.tenant_id": "5",
            "role": "reader"}``. They go over those of ``settings_for``. Costs a round trip for each transaction.
        nested: join the scope of the same thread and sessions that this one is in, as a savepoint: the block gets that
            scope's session, and rolls back to the savepoint if it raises. Where there is none, it is a scope like any
            other. It takes no other argument, since the transaction is the outer scope's.

    Raises:
        whatever the block raises, unchanged, or what the commit raises (``sqlalchemy.exc.IntegrityError``, ...).
        sqlalchemy.exc.PendingRollbackError: the block ended well, but an error it did not pass on had aborted its
            transaction: nothing was committed.
        CommitOutcomeUnknown: the connection was lost when ``COMMIT`` had been sent.
        DeadlineExceeded: a statement was stopped by ``db.deadline``, or the server did not answer within ``timeout``.
        sqlalchemy.exc.ArgumentError, SettingsError: an argument cannot be used; nothing was done.

    A session belongs to one thread; any number of threads may have scopes.
    """
    if nested:
        if read_only or isolation_level is not None or timeout is not None or settings is not None:
            raise exc.ArgumentError("nested=True takes no other argument: the transaction is the outer scope's")
        outer = innermost(sessions)
        if outer is not None:
            with outer.begin_nested():
                yield outer
            return
    options = options_of_scope(timeout, settings)
    engine = variant(sessions, isolation_level, read_only=read_only)
    tend(sessions)
    session = sessions(close_resets_only=False) if engine is None else sessions(close_resets_only=False, bind=engine)
    ask_for(session, options)
    opened = enter(sessions, session)
    try:
        yield session
        session.commit()
    except BaseException as error:
        try:
            session.rollback()
        except Exception:
            logger.warning("The rollback failed too; the pool rolls back, or discards the connection.", exc_info=True)
            session.invalidate()  # what SQLAlchemy has not given back, as it has not where a savepoint was open
        told = _told(error)
        if told is not None:
            raise told from error
        raise
    finally:
        leave(opened)
        session.close()


def _told(error: BaseException) -> Exception | None:
    """The error to raise in place of one that means more than it says; None for that one itself."""
    if not isinstance(error, exc.DBAPIError) or isinstance(error, CommitOutcomeUnknown):
        return None
    if error.orig is not None and lost_at_commit(error.orig):
        return CommitOutcomeUnknown("COMMIT", None, error.orig)
    return by_deadline(error)


@contextmanager
def raw_connection(engine: Engine) -> Iterator[Any]:
    """The driver's connection itself, out of the pool, for the length of the block: COPY, LISTEN, server-side cursors.

    It is psycopg2's or psycopg 3's, as the engine's URL says, and errors are that driver's own. Committed at the end of
    the block, or rolled back if it raises anything at all. Always given back, and as it came: ``autocommit``,
    ``isolation_level``, read-only, ``deferrable``, ``cursor_factory``, the client's encoding, what was registered on it
    alone, and with psycopg 3 ``row_factory`` and ``prepare_threshold``. Cursors made in the block are closed after it.
    A connection that is lost or closed in the block is replaced by the pool. Changes that SQL made in the session
    (``SET``, ``LISTEN``, temporary tables) stay with the connection. A child forked inside the block leaves the
    connection, which is its parent's, alone.

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
                with bounded(driver, connection, idle_too=False):
                    yield connection
                if fairy.dbapi_connection is connection:  # else it is the parent's: the block ends in a forked child
                    with bounded(driver, connection):
                        _commit(driver, connection)
            except BaseException as error:
                let_go_if_cut_off(borrowed, connection, error)
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
    if not driver.commit(connection):
        raise nothing_committed()
    if driver.transaction(connection) in IN_TRANSACTION:  # autocommit, and a BEGIN of the borrower's
        send(connection, "COMMIT")
