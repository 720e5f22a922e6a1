"""Knocks at the servers' doors before anybody logs in: the name, each address, the port, TLS and its certificate.

It sends PostgreSQL's request for TLS and no more; no password leaves this machine, and no certificate is trusted. libpq
decides at the login whether the certificate is good enough for the ``sslmode``.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

from dbkit.cli.check.facts import Certificate, Host, Knock
from dbkit.cli.check.within import NoAnswerError, within

if TYPE_CHECKING:
    from dbkit.settings import DatabaseSettings

_SSL_REQUEST: Final = struct.pack("!II", 8, 80877103)
_DEFAULT_PORT: Final = 5432


def hosts_of(settings: DatabaseSettings, environ: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """The hosts and ports that libpq will go to, by the settings and, for the rest, by its variables.

    Args:
        settings: who connects to what.
        environ: the process's variables.

    Returns:
        Empty where only libpq knows: a service, or its built-in default.
    """
    hosts = settings.route_by(environ).hosts
    given = str(settings.port if settings.port is not None else environ.get("PGPORT") or _DEFAULT_PORT)
    ports = given.split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return tuple(
        (host, int(port or _DEFAULT_PORT)) for host, port in zip(hosts, ports, strict=False) if host and port.isdigit()
    )


def knock_at(name: str, port: int, seconds: float, *, tls: bool, direct: bool) -> Host:
    """Resolve a host, and knock at each of its addresses.

    Args:
        name: a name, an address, or a socket's folder.
        port: its port.
        seconds: for the name, and then for all of its addresses together.
        tls: ask for TLS too.
        direct: begin with TLS, as ``sslnegotiation=direct`` does.
    """
    if name.startswith(("/", "@")):
        return Host(name=name, port=port, knocks=(_knock_at_socket(f"{name}/.s.PGSQL.{port}", seconds),))
    try:
        found = within(seconds, lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError, NoAnswerError) as error:
        return Host(name=name, port=port, name_error=_words(error))
    deadline = monotonic() + seconds
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    knocks = []
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        share = max(0.1, (deadline - monotonic()) / left)
        knocks.append(_knock(address, port, name, share, tls=tls, direct=direct))
    return Host(name=name, port=port, knocks=tuple(knocks))


def _knock_at_socket(path: str, seconds: float) -> Knock:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(seconds)
        try:
            door.connect("\0" + path[1:] if path.startswith("@") else path)
        except OSError as error:
            return Knock(address=path, error=_words(error))
    return Knock(address=path)


def _knock(address: str, port: int, name: str, seconds: float, *, tls: bool, direct: bool) -> Knock:
    try:
        door = socket.create_connection((address, port), seconds)
    except OSError as error:
        return Knock(address=address, error=_words(error))
    with door:
        if not tls:
            return Knock(address=address)
        try:
            if not direct:
                door.sendall(_SSL_REQUEST)
                answer = door.recv(1)
                if answer != b"S":
                    return Knock(address=address, offers_tls=False if answer == b"N" else None)
            return _shake_hands(door, address, name)
        except TimeoutError:
            return Knock(address=address, silent=True)
        except (OSError, ValueError):  # not a PostgreSQL server, or one that speaks another TLS: the login will tell
            return Knock(address=address)


def _shake_hands(door: socket.socket, address: str, name: str) -> Knock:
    """Look at the certificate, whoever it is from."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    with context.wrap_socket(door, server_hostname=name) as channel:
        shown = channel.getpeercert(binary_form=True)
        return Knock(
            address=address,
            offers_tls=True,
            certificate=None if shown is None else _read(shown),
            tls=channel.version(),
        )


def _read(shown: bytes) -> Certificate:
    from cryptography import x509  # comes with the extra, as click does

    read = x509.load_der_x509_certificate(shown)
    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = names.get_values_for_type(x509.DNSName)
        addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        hosts, addresses = [], []
    return Certificate(
        subject=read.subject.rfc4514_string(),
        issuer=read.issuer.rfc4514_string(),
        begins=read.not_valid_before_utc,
        ends=read.not_valid_after_utc,
        names=(*hosts, *addresses),
    )


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
