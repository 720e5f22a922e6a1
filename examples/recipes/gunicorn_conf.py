"""gunicorn with threads: 2 processes of 8 threads share up to 2 x ``max_size`` connections.

A thread that finds all connections of its process out stands in the pool's line; so threads may be more than
connections. The server must have room for all processes together: ``workers x max_size``.
"""

from __future__ import annotations

from typing import Any

worker_class = "gthread"
workers = 2
threads = 8
preload_app = True
"""Loaded once, then forked: the parent's pool is not shared with the children."""


def worker_exit(server: Any, worker: Any) -> None:
    """Close the pool when a worker ends, so that its sessions at the server end at once."""
    from examples.recipes.flask_app import db

    db.close_connections(timeout=2.0)
