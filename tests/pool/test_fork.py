"""After a fork the child's pool starts empty, and the parent's sessions live on. Each scenario runs by itself."""

from __future__ import annotations

import pytest

from .forking import run


@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_the_child_has_connections_of_its_own_and_the_parents_live_on(shared_database: str, leave: str):
    run(
        shared_database,
        f"""
        engine.pool.warm_up()
        with engine.connect() as one, engine.connect() as two:
            ours = {{pid_of(one), pid_of(two)}}

        def work():
            stats = engine.pool.stats()
            assert (stats.size, stats.idle, stats.in_use, stats.opens) == (0, 0, 0, 0), stats
            use(expected_not=ours)
            assert engine.pool.stats().opens >= 1

        in_child(work, leave={leave})
        for _ in range(2):
            with engine.connect() as one, engine.connect() as two:
                assert {{pid_of(one), pid_of(two)}} == ours
                assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().opens == 2
        """,
    )


@pytest.mark.parametrize("end", ["engine.dispose()", "engine.pool.close(1)", "engine.dispose(close=False)"])
def test_a_child_that_ends_its_pool_ends_nothing_of_the_parents(shared_database: str, end: str):
    run(
        shared_database,
        f"""
        engine.pool.warm_up()

        def work():
            {end}

        def use_then_end():
            use()
            {end}

        in_child(work)
        in_child(use_then_end)
        with engine.connect() as one, engine.connect() as two:
            assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1")) == 1
        assert engine.pool.stats().opens == 2
        assert engine.pool.stats().closes == {{}}
        """,
    )


@pytest.mark.parametrize("end", ["pass", "raise KeyError"])
def test_a_child_that_leaves_a_block_it_was_forked_in_ends_nothing_of_the_parents(shared_database: str, end: str):
    run(
        shared_database,
        f"""
        from dbkit.session.scopes import raw_connection

        def fork_inside():
            with raw_connection(engine) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id()")
                (before,) = cursor.fetchone()
                child = os.fork()
                if child == 0:
                    {end}
                else:
                    found, status = os.waitpid(child, 0)
                    assert os.waitstatus_to_exitcode(status) == 7
                    cursor.execute("SELECT pg_current_xact_id()")
                    assert cursor.fetchone() == (before,), "the child ended the transaction"
            return child

        engine.pool.warm_up()
        child = 0
        try:
            child = fork_inside()
        except KeyError:
            pass
        if child == 0:
            try:
                use()
            except BaseException:
                traceback.print_exc()
                os._exit(99)
            os._exit(7)
        use()
        assert engine.pool.stats().opens == 2, engine.pool.stats()
        """,
    )


def test_what_was_out_at_the_fork_is_inert_in_the_child(shared_database: str):
    run(
        shared_database,
        """
        connection = engine.connect()
        connection.execute(text("CREATE TEMPORARY TABLE mine (n int)"))
        connection.execute(text("INSERT INTO mine VALUES (1)"))

        def work():
            try:
                connection.execute(text("INSERT INTO mine VALUES (2)"))
            except Exception:
                pass
            else:
                raise AssertionError("the child used the parent's session")
            use()
            assert engine.pool.stats().in_use == 0

        in_child(work)
        assert connection.scalar(text("SELECT count(*) FROM mine")) == 1  # the transaction lives
        connection.commit()
        connection.close()
        use()
        """,
    )


def test_a_fairy_given_back_in_the_child_changes_nothing(shared_database: str):
    run(
        shared_database,
        """
        held = engine.raw_connection()
        held.cursor().execute("CREATE TEMPORARY TABLE mine (n int)")

        def work():
            held.close()
            stats = engine.pool.stats()
            assert (stats.size, stats.in_use) == (0, 0), stats
            use()

        in_child(work)
        held.cursor().execute("INSERT INTO mine VALUES (1)")
        held.commit()
        held.close()
        assert engine.pool.stats().opens == engine.pool.stats().size
        """,
    )


def test_leaving_the_child_from_within_a_with_block(shared_database: str):
    run(
        shared_database,
        """
        with engine.connect() as connection:
            connection.execute(text("CREATE TEMPORARY TABLE mine (n int)"))
            child = os.fork()
            if child == 0:
                try:
                    connection.close()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            connection.execute(text("INSERT INTO mine VALUES (1)"))
            assert connection.scalar(text("SELECT count(*) FROM mine")) == 1
        """,
    )


def test_the_childs_upkeep_is_its_own(shared_database: str):
    run(
        shared_database,
        """
        engine = create_engine(sys.argv[1], poolclass=ElasticPool, min_size=1, max_size=4, max_idle=0.2)
        use()

        def work():
            held = [engine.connect() for _ in range(3)]
            for connection in held:
                connection.close()
            deadline = time.monotonic() + 10
            while engine.pool.stats().size > 1:
                assert time.monotonic() < deadline, engine.pool.stats()
                time.sleep(0.005)

        in_child(work)
        """,
    )


def test_children_of_multiprocessing(shared_database: str):
    run(
        shared_database,
        """
        use()

        def child():
            for _ in range(20):
                use()

        context = multiprocessing.get_context("fork")
        children = [context.Process(target=child) for _ in range(4)]
        for process in children:
            process.start()
        for process in children:
            process.join(200)
        assert [process.exitcode for process in children] == [0] * 4
        use()
        assert engine.pool.stats().opens == 2
        """,
    )
