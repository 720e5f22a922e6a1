"""Celery with forked workers: the manager is made once, when the module is loaded, and each child has its own pool.

    DATABASE_URL=postgresql://... CELERY_BROKER=redis://... celery -A examples.recipes.celery_app worker --concurrency 2

A task runs in one process at a time, so a small pool does: one connection for the task, one for whatever it starts.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown
from sqlalchemy import text

from dbkit import DatabaseConnectionManager

db = DatabaseConnectionManager(min_size=0, max_size=2)
app = Celery("recipes", broker=os.environ.get("CELERY_BROKER"), backend=os.environ.get("CELERY_RESULTS"))
app.conf.broker_connection_retry_on_startup = True


@app.task(acks_late=True)  # type: ignore[untyped-decorator]
def add(name: str) -> int:
    """Write a name; after a deadlock or a serialization failure the whole function runs again."""

    def write(session: Any) -> int:
        session.execute(text("INSERT INTO names VALUES (:name)"), {"name": name})
        process: int = session.scalar(text("SELECT pg_backend_pid()"))
        return process

    return db.run_in_transaction(write)


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def close(**_: Any) -> None:
    """A worker process ends."""
    db.close_connections(timeout=2.0)
