"""What ``dbkit check`` knows: frozen facts, gathered by ``gather.py``, judged by the judges. No opinion is in here.

None stands for "not known": the step before failed, or there is nothing of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dbkit.core.policy import PoolPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbkit.settings.shown import Row


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """How many pools there are.

    Attributes:
        processes: of the application on each host.
        hosts: that run it.
    """

    processes: int = 1
    hosts: int = 1

    @property
    def pools(self) -> int:
        """All of them."""
        return self.processes * self.hosts


@dataclass(frozen=True, kw_only=True)
class SettingsFacts:
    """The settings, as far as a judge needs them; nothing secret.

    Attributes:
        target: ``user@host:5432/database``.
        rows: every setting, its value and its origin.
        remarks: near misses and the like.
        policy: the pool's numbers.
        sslmode: libpq's; None where nothing sets it.
        target_session_attrs: libpq's; None where nothing sets it.
        network_timeout: seconds.
        service: the libpq service that decides the address; None if there is none.
    """

    target: str
    rows: Sequence[Row]
    remarks: Sequence[str]
    policy: PoolPolicy
    sslmode: str | None = None
    target_session_attrs: str | None = None
    network_timeout: int = 0
    service: str | None = None


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The certificate that a server shows.

    Attributes:
        subject, issuer: as text.
        begins, ends: when it is valid.
        names: the hosts and addresses it is for.
    """

    subject: str
    issuer: str
    begins: datetime
    ends: datetime
    names: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Knock:
    """One address, knocked at.

    Attributes:
        address: as resolved, or the socket's file.
        error: why nobody answered; None if somebody did.
        offers_tls: what the server said when asked for TLS; None if it was not asked or said nothing.
        silent: something took the connection and then said nothing.
        certificate: that it showed.
        tls: the version of TLS that was agreed on.
    """

    address: str
    error: str | None = None
    offers_tls: bool | None = None
    silent: bool = False
    certificate: Certificate | None = None
    tls: str | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host of the settings.

    Attributes:
        name: as it is set.
        port: as it is set, or libpq's default.
        name_error: why the name could not be resolved; None if it could.
        knocks: one for each of its addresses.
    """

    name: str
    port: int
    name_error: str | None = None
    knocks: Sequence[Knock] = ()


@dataclass(frozen=True, kw_only=True)
class Login:
    """The attempt to open a session with the pool.

    Attributes:
        seconds: it took.
        error: the driver's text; None where it worked.
        timed_out: nothing came back in time.
    """

    seconds: float
    error: str | None = None
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a session sees of its server.

    Attributes:
        version: ``18.1``.
        version_number: ``180001``.
        role: that the session acts as.
        superuser: whether it is one.
        in_recovery: the server is a standby.
        read_only: transactions are read-only unless they ask otherwise.
        encrypted: the version of TLS in use; None without TLS.
        settings: of the server, by name, in the server's base unit (milliseconds for the timeouts).
        role_limit, database_limit: connections that the role or database may have; None for no limit.
        sessions: of clients there are now, this one not counted.
        clock_ahead: seconds that the server's clock is ahead of this machine's.
        clock_precision: seconds by which that may be wrong.
    """

    version: str
    version_number: int
    role: str
    superuser: bool
    in_recovery: bool
    read_only: bool
    encrypted: str | None
    settings: Mapping[str, int]
    role_limit: int | None
    database_limit: int | None
    sessions: int
    clock_ahead: float
    clock_precision: float


@dataclass(frozen=True, kw_only=True)
class Pooler:
    """What stands between the client and the server.

    Attributes:
        present: something hands out server sessions of its own.
        mode: ``transaction`` where that is certain, ``session`` where nothing speaks against it.
    """

    present: bool
    mode: str | None = None


@dataclass(frozen=True, kw_only=True)
class Migrations:
    """Where the database is, by the scripts at hand.

    Attributes:
        config: the ``alembic.ini``; None where there is none.
        error: why ``env.py`` could not be asked, or what it would do wrong.
        applied: how many revisions the database has.
        pending: the revisions it does not have, the next one first.
    """

    config: str | None
    error: str | None = None
    applied: int = 0
    pending: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known."""

    settings: SettingsFacts
    fleet: Fleet
    now: datetime
    hosts: Sequence[Host] = ()
    login: Login | None = None
    server: Server | None = None
    server_error: str | None = None
    pooler: Pooler | None = None
    migrations: Migrations | None = None
    round_trips: Sequence[float] = ()
    """Seconds, in the order they were measured in."""
