"""gevent: patch first, then everything else. Greenlets share the pool as threads do.

    DATABASE_URL=postgresql://... python -m examples.recipes.gevent_script

psycopg2 waits in C and would stop all greenlets; psycopg 3 waits in Python, which gevent can patch. With psycopg2 add
psycogreen.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402

from dbkit import DatabaseConnectionManager  # noqa: E402


def main() -> None:
    """Twenty greenlets, each waits half a second at the server, on ten connections."""
    with DatabaseConnectionManager({"driver": "psycopg"}, min_size=0, max_size=10) as db:
        jobs = [gevent.spawn(db.execute_query, "SELECT pg_sleep(0.5)") for _ in range(20)]
        gevent.joinall(jobs, raise_error=True)
        stats = db.stats()
        print(f"{stats.borrows} borrows on {stats.opens} connections, {stats.in_use} still out")


if __name__ == "__main__":
    main()
