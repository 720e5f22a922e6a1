"""A fork while other threads are in the midst of something: the child is not held up by what they hold."""

from __future__ import annotations

from .forking import run


def test_a_fork_while_another_thread_holds_the_pools_lock(shared_database: str):
    run(
        shared_database,
        """
        use()
        inside, leave = threading.Event(), threading.Event()

        def hold():
            with locked(engine.pool):
                inside.set()
                leave.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        assert inside.wait(10)
        try:
            in_child(use)
        finally:
            leave.set()
            thread.join()
        use()
        """,
    )


def test_a_fork_in_the_midst_of_busy_threads(shared_database: str):
    run(
        shared_database,
        """
        use()  # SQLAlchemy holds a lock of its own while it first connects, which a child would inherit
        enough = threading.Event()
        errors = []

        def hammer():
            try:
                while not enough.is_set():
                    use()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            in_child(use)
        enough.set()
        for thread in threads:
            thread.join(20)
        assert not errors, errors
        stats = engine.pool.stats()
        assert stats.in_use == stats.waiting == 0, stats
        """,
    )


def test_a_fork_waits_for_a_connect_under_way(shared_database: str):
    run(
        shared_database,
        """
        import psycopg2
        began, ended = threading.Event(), threading.Event()
        use()

        def slow(dsn=engine.url.set(drivername="postgresql").render_as_string(hide_password=False)):
            began.set()
            time.sleep(0.3)
            connection = psycopg2.connect(dsn)
            ended.set()
            return connection

        other = ElasticPool(lambda: slow(), min_size=0)
        thread = threading.Thread(target=lambda: other.connect().close())
        thread.start()
        assert began.wait(10) and not ended.is_set()
        in_child(use)
        assert ended.is_set(), "the fork did not wait"
        thread.join()
        """,
    )


def test_a_fork_in_the_midst_of_the_first_connections_events(shared_database: str):
    run(
        shared_database,
        """
        from sqlalchemy import event

        inside, go_on, parent = threading.Event(), threading.Event(), os.getpid()

        @event.listens_for(engine, "connect")
        def slow(connection, record):
            if os.getpid() == parent:
                inside.set()
                assert go_on.wait(60)

        thread = threading.Thread(target=use)
        thread.start()
        assert inside.wait(60)
        in_child(use)
        go_on.set()
        thread.join()
        """,
    )
