"""Drill 20: the tokens that a pool logs in with expire while the server restarts, while a standby is promoted, and
while PgBouncer restarts. Nothing but the drill itself may be seen of it.

The token of the moment is the role's password, ``VALID UNTIL`` a moment in the past once it expired; so the server
rejects a login with it, as a cloud's server does.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import make_url

from dbkit.credentials import Token
from dbkit.embedded import EmbeddedPostgres

from ..bouncer import bouncer
from . import closing
from .conftest import MakeDrill
from .entrants import OurSessions, Params, make_manager, params_of
from .forms import by_form, program
from .load import Load
from .pair import pair
from .test_promotion import insert
from .test_restart import accepts_at

THREADS = 12
ROUNDS = by_form(short=1, long=5)
FAR = 10.0**10
Execute = Callable[[str], list[tuple[Any, ...]]]


class Issuer:
    """Gives out tokens for the role ``visitor``, each of which replaces the one before.

    Attributes:
        execute: runs a statement on the server that is the primary at the moment.
        issued: how many tokens were given out.
    """

    def __init__(self, execute: Execute) -> None:
        self.execute = execute
        self.issued = 0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        execute("CREATE ROLE visitor LOGIN")

    def __call__(self) -> Token:
        with self._lock:
            self.issued += 1
            token = f"token-{next(self._numbers)}"
            self.execute(f"ALTER ROLE visitor PASSWORD '{token}' VALID UNTIL 'infinity'")
            return Token(token, FAR)

    def expire(self) -> None:
        """Every token given out so far is worth nothing any more."""
        with self._lock:
            self.execute("ALTER ROLE visitor VALID UNTIL '2001-01-01'")


def ours(params: Params, issuer: Issuer, **options: Any) -> OurSessions:
    login = {name: value for name, value in params.items() if name != "password"} | {"user": "visitor"}
    return OurSessions(make_manager(login, timeout=30, credential=issuer, **options))


@pytest.fixture
def own(memory_folder: str | None) -> Iterator[EmbeddedPostgres]:
    """Return a server that this drill may stop."""
    with EmbeddedPostgres.start(temp_dir=memory_folder) as running:
        yield running


def test_during_a_restart(own: EmbeddedPostgres, drill: MakeDrill):
    record = drill(20, "tokens expire", f"during {ROUNDS} restarts of the server")
    issuer = Issuer(own.execute)
    pool = ours(params_of(own), issuer)
    load, latest = Load(pool, THREADS), 0.0
    for _ in range(ROUNDS):
        load.goes_on()
        issuer.expire()
        own.stop()
        stopped, asks = monotonic(), accepts_at(params_of(own))
        own.start_again()
        accepted = asks.outcome()
        load.goes_on()
        latest = max(latest, load.first_success(since=stopped).ended - accepted)
    load.stop()
    ends = load.ends()
    figures = {"errors at borrow": ends["borrow"], "cut off in use": ends["statement"] + ends["commit"]}
    record.row(pool.name, figures | {"tokens": issuer.issued, "first success after, s": max(0.0, latest)})
    record.must("errors at borrow", ends["borrow"], most=0)
    record.must("cut off in use", ends["statement"] + ends["commit"], most=8 * ROUNDS)
    record.aim("first success after the server accepts, s", max(0.0, latest), most=0.6)
    assert issuer.issued > ROUNDS
    closing.check(pool.pool, load=load, execute=own.execute)
    pool.close()


def test_during_a_promotion(drill: MakeDrill):
    record = drill(20, "tokens expire", f"before {ROUNDS} promotions of a standby")
    counted: Counter[str] = Counter()
    for _ in range(ROUNDS):
        with pair() as both:
            issuer = Issuer(both.first.execute)
            both.first.execute("GRANT ALL ON written TO visitor")
            pool = ours(both.params(), issuer, engine_options={"require_writer": True})
            load = Load(pool, THREADS, insert)
            load.goes_on()
            issuer.expire()  # which the standby knows, too: nobody can log in to it with the token at hand
            both.first.kill()
            issuer.execute = both.second.execute
            both.second.execute("SELECT pg_promote()")
            load.goes_on()
            load.stop()
            written = {number for (number,) in both.second.execute("SELECT n FROM written")}
            ends = load.ends()
            counted["errors at borrow"] += ends["borrow"]
            counted["cut off in use"] += ends["statement"] + ends["commit"]
            counted["tokens"] += issuer.issued
            counted["commits missing"] += sum(turn.end == "ok" and turn.number not in written for turn in load.turns)
            closing.check(pool.pool, load=load, execute=both.second.execute)
            pool.close()
    record.row(OurSessions.name, {name: counted[name] for name in sorted(("commits missing", *counted))})
    record.must("errors at borrow", counted["errors at borrow"], most=0)
    record.must("commits missing", counted["commits missing"], most=0)
    record.must("cut off in use", counted["cut off in use"], most=8 * ROUNDS)


KNOWN = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1"
)


def test_during_a_restart_of_pgbouncer(own: EmbeddedPostgres, drill: MakeDrill):
    record = drill(20, "tokens expire", f"during {ROUNDS} restarts of PgBouncer")
    found = program("pgbouncer", needed_for="pgbouncer")
    issuer, superuser = Issuer(own.execute), make_url(own.url())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        users = Path(folder) / "users.txt"
        users.write_text(f'"{superuser.username}" "{superuser.password}"\n')
        users.chmod(0o644)
        settings = {
            "auth_type": "scram-sha-256", "auth_user": superuser.username, "auth_file": users, "auth_query": KNOWN,
        }  # fmt: skip
        with bouncer(found, superuser, login=False, settings=settings) as running:
            pool = ours(params_of(own, port=running.port), issuer)
            load = Load(pool, THREADS)
            for _ in range(ROUNDS):
                load.goes_on()
                issuer.expire()
                running.stop()
                running.start()
                load.goes_on()
            load.stop()
            ends = load.ends()
            figures = {"errors at borrow": ends["borrow"], "cut off in use": ends["statement"] + ends["commit"]}
            record.row(pool.name, figures | {"tokens": issuer.issued})
            record.must("errors at borrow", ends["borrow"], most=0)
            record.must("cut off in use", ends["statement"] + ends["commit"], most=THREADS * ROUNDS)
            assert issuer.issued > ROUNDS
            closing.check(pool.pool, load=load)
            pool.close()
