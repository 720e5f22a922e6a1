"""Why a login failed, and what to do about it. Pure: it reads the driver's words and the facts gathered before.

libpq gives no SQLSTATE for a failed login, so the words are all there is, and only English ones are known. Others are
shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dbkit.cli.check.findings import Finding, problem

if TYPE_CHECKING:
    from dbkit.cli.check.facts import Certificate, Facts

_KNOWN: Final[Mapping[str, str]] = {
    "password authentication failed|auth(?:entication)? failed": (
        "Compare user and password with the server's. The settings above say where each came from; "
        "a special character in a URL's password must be percent-encoded."
    ),
    "no password supplied|empty password": (
        "Give a password: DB_PASSWORD, DB_PASSWORD_FILE, a credential, or a line in .pgpass."
    ),
    'role ".*" does not exist': "Create the role (CREATE ROLE ... LOGIN), or correct the user.",
    'role ".*" is not permitted to log in': "ALTER ROLE ... LOGIN, or log in as another role.",
    'database ".*" does not exist|no such database': "Create the database (createdb), or correct its name.",
    "no pg_hba.conf entry|pg_hba.conf rejects": (
        "The server's pg_hba.conf lets this user, database and address not in, or not in this way: add a line there, "
        "or set sslmode=require where it says 'no encryption'."
    ),
    "does not support SSL": (
        "Turn on ssl at the server. On a network that you trust, set sslmode=prefer or disable."
    ),
    "certificate has expired|certificate is not yet valid": "Renew the server's certificate, and reload the server.",
    "certificate verify failed|self.signed certificate|unable to get local issuer": (
        "Set sslrootcert to the file of the CA that signed the server's certificate, or to 'system' for a public CA."
    ),
    "server certificate for": (
        "Connect by a name that the certificate is for, or have a certificate made for this one."
    ),
    "root certificate file": "Set sslrootcert to the CA's file, or to 'system' for a public CA.",
    "too many clients|remaining connection slots|too many connections|no more connections": (
        "The server (or the role, or the database) is full, SQLSTATE 53300. See who is there: `dbkit top` as a "
        "superuser. Lower max_size times processes, raise max_connections, or put PgBouncer in between."
    ),
    "the database system is": "The server is starting, stopping or recovering. Wait, and read its log.",
    "session is read-only|not in hot standby|server is in hot standby|session is not read-only": (
        "No host in the settings is what target_session_attrs asks for. Add the other server to host, or change it."
    ),
    "could not translate host name|Name or service not known|Temporary failure in name": (
        "Correct the host, or the machine's name resolution."
    ),
    "Connection refused": "Nobody listens there: correct host and port, or start the server.",
    "server closed the connection unexpectedly": (
        "Read the server's log. PgBouncer with pool_mode=statement does so: it refuses every transaction; set "
        "transaction or session."
    ),
    "unrecognized configuration parameter|unsupported startup parameter": (
        "Take that parameter out of `options`; PgBouncer knows few of them."
    ),
}  # fmt: skip


_ADVICE: Final = "Is the server running"
"""How libpq's own advice begins; ours is better."""


def explain(facts: Facts) -> Finding:
    """The finding about a login that failed.

    Args:
        facts: with a login that has an error.
    """
    login = facts.login
    said = (login.error if login is not None else None) or ""
    if login is not None and login.timed_out:
        return problem("login", _silence(facts, said), "Read the server's log, and look for a firewall in between.")
    ended = _expired(facts)
    if ended is not None and re.search("certificate|SSL", said):
        when = f"{ended.ends:%Y-%m-%d %H:%M} UTC"
        return problem(
            "login",
            f"The server's certificate ended on {when}, and sslmode={facts.settings.sslmode} asks for a good one: "
            f"{_short(said)}",
            "Renew the server's certificate, and reload the server.",
        )
    for words, remedy in _KNOWN.items():
        if re.search(words, said, re.IGNORECASE):
            return problem("login", _short(said), remedy)
    return problem("login", _short(said) or "The login failed without a word.", "Read the server's log for its side.")


def _silence(facts: Facts, said: str) -> str:
    silent = any(knock.silent for host in facts.hosts for knock in host.knocks)
    if silent:
        return f"Something takes the connection and then says nothing: {said}. It may be no PostgreSQL at all."
    return f"The login did not end: {said}."


def _expired(facts: Facts) -> Certificate | None:
    return next((found for found in certificates(facts) if found.ends <= facts.now), None)


def certificates(facts: Facts) -> list[Certificate]:
    """Every certificate that was shown, once."""
    shown = [knock.certificate for host in facts.hosts for knock in host.knocks if knock.certificate is not None]
    return [each for at, each in enumerate(shown) if each not in shown[:at]]


def days_left(certificate: Certificate, now: datetime) -> int:
    """Whole days until a certificate ends; below 0 where it has."""
    return (certificate.ends - now).days


def _short(said: str) -> str:
    """The driver's words on one line. Of several addresses that say the same, one."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in said.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith(_ADVICE)))
