"""Judges what was found at the servers' doors: names, addresses, ports, TLS. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbkit.cli.check.explain_login import certificates, days_left
from dbkit.cli.check.findings import Finding, note, ok, problem, warning

if TYPE_CHECKING:
    from datetime import datetime

    from dbkit.cli.check.facts import Certificate, Facts, Host

SOON: Final = 21
"""Days before a certificate's end from which on it is a warning."""

_STRICT: Final = ("require", "verify-ca", "verify-full")


def judge_doors(facts: Facts) -> list[Finding]:
    """Name, address and port, each apart, host by host."""
    if not facts.hosts:
        service = facts.settings.service
        where = f"the service {service} decides" if service else "libpq's own default decides, mostly a unix socket"
        return [note("host", f"No host is set, so {where}; the login shows whether it works.")]
    one_works = any(_open(host) for host in facts.hosts)
    findings = []
    for host in facts.hosts:
        findings += _of_host(host, spare=one_works and not _open(host))
    return findings


def _open(host: Host) -> bool:
    return any(knock.error is None for knock in host.knocks)


def _of_host(host: Host, *, spare: bool) -> list[Finding]:
    worse = warning if spare else problem
    if host.name.startswith(("/", "@")):
        return [_of_socket(host, spare=spare)]
    if host.name_error is not None:
        return [
            worse(
                "name",
                f"{host.name} has no address: {host.name_error}.",
                "Correct the host, or the machine's name resolution (/etc/hosts, DNS, the search domain, a VPN).",
            )
        ]
    addresses = ", ".join(knock.address for knock in host.knocks)
    findings = [ok("name", f"{host.name} is {addresses}." if host.name != addresses else f"{host.name} is an address.")]
    for knock in host.knocks:
        where = f"{knock.address} port {host.port}"
        if knock.error is None:
            silent = ", and then said nothing" if knock.silent else ""
            findings.append((note if silent else ok)("port", f"{where}: somebody answered{silent}."))
        elif _open(host):  # libpq goes on to the next address
            findings.append(note("port", f"{where}: {knock.error}. Another address answers; libpq tries them in turn."))
        else:
            findings.append(worse("port", f"{where}: {knock.error}.", _remedy(knock.error)))
    return findings


def _remedy(error: str) -> str:
    if "refused" in error:
        return "Nobody listens on that port: correct the port, start the server, or set its listen_addresses."
    if "in time" in error:
        return "A firewall, a security group or a wrong address swallows the packets; ask whoever runs the network."
    return "There is no way to that address from here: look at routes, VPN and firewall."


def _of_socket(host: Host, *, spare: bool) -> Finding:
    (knock,) = host.knocks
    if knock.error is None:
        return ok("port", f"The socket {knock.address}: somebody answered.")
    remedy = "Correct the folder or the port, start the server, or give this account access to the folder."
    return (warning if spare else problem)("port", f"The socket {knock.address}: {knock.error}.", remedy)


def judge_tls(facts: Facts) -> list[Finding]:
    """Whether the way is encrypted, and the certificate."""
    over_network = [host for host in facts.hosts if not host.name.startswith(("/", "@"))]
    asked = [knock for host in over_network for knock in host.knocks if knock.offers_tls is not None]
    mode = facts.settings.sslmode
    findings: list[Finding] = []
    local = all(_is_loopback(knock.address) for host in over_network for knock in host.knocks)
    if over_network and mode == "disable" and not local:
        remedy = "Set sslmode=verify-full with sslrootcert=system, or with the file of the provider's CA."
        findings.append(warning("tls", "sslmode=disable: passwords and data are sent unencrypted.", remedy))
    elif asked and not any(knock.offers_tls for knock in asked):
        if mode in _STRICT:
            remedy = "Turn on ssl at the server. On a network that you trust, set sslmode=prefer or disable."
            findings.append(problem("tls", f"The server offers no TLS, and sslmode={mode} asks for it.", remedy))
        elif local:
            findings.append(ok("tls", "The server offers no TLS; all stays on this machine."))
        else:
            remedy = "Turn on ssl at the server, then set sslmode=verify-full."
            findings.append(warning("tls", "The server offers no TLS: passwords and data are readable.", remedy))
    elif asked:
        findings.append(_of_mode(mode, next((knock.tls for knock in asked if knock.tls), None), local=local))
    names = {host.name for host in over_network}
    return findings + [_of_certificate(shown, facts.now, mode, names) for shown in certificates(facts)]


def _of_mode(mode: str | None, version: str | None, *, local: bool) -> Finding:
    offered = f"The server offers {version or 'TLS'}"
    if mode == "verify-full":
        return ok("tls", f"{offered}, and sslmode=verify-full makes sure that it is the right server.")
    shown = f"sslmode={mode}" if mode else "libpq's default sslmode=prefer"
    if local:
        return ok("tls", f"{offered}, with {shown}; all stays on this machine.")
    trusts = "any certificate of that CA" if mode == "verify-ca" else "any server that answers"
    return note("tls", f"{offered}, and {shown} trusts {trusts}.", "Set sslmode=verify-full, and sslrootcert.")


def _of_certificate(shown: Certificate, now: datetime, mode: str | None, names: set[str]) -> Finding:
    until = f"{shown.ends:%Y-%m-%d}"
    whose = f"The certificate of {shown.subject or ', '.join(shown.names)}"
    left = days_left(shown, now)
    judged = mode in ("verify-ca", "verify-full")
    if shown.ends <= now:
        remedy = "Renew the server's certificate, and reload the server."
        says = f"{whose} ended on {until}"
        if judged:
            return problem("certificate", f"{says}.", remedy)
        return warning("certificate", f"{says}; sslmode={mode or 'prefer'} does not look.", remedy)
    if shown.begins > now:
        remedy = "Set the clock of this machine, or wait."
        return problem("certificate", f"{whose} begins on {shown.begins:%Y-%m-%d %H:%M} UTC only.", remedy)
    if left < SOON:
        return warning("certificate", f"{whose} ends in {left} days, on {until}.", "Renew it before that.")
    matching = f", for {', '.join(shown.names)}" if shown.names and not names & set(shown.names) else ""
    return ok("certificate", f"{whose} is good until {until}{matching}.")


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
