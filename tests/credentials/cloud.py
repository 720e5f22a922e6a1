"""A server that logs in as a cloud's managed PostgreSQL does: TLS with a certificate, then the token in clear text.

Only the login is there; no statement is ever answered.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = 80877103
REPORTED = {
    "server_version": "16.4", "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "integer_datetimes": "on",
    "standard_conforming_strings": "on", "TimeZone": "UTC",
}  # fmt: skip


HOUR = datetime.timedelta(hours=1)


def make_certificates(folder: Path, name: str, good_for: datetime.timedelta = HOUR) -> tuple[Path, Path]:
    """Write a CA, and a server's certificate with its key, both good since yesterday; return their files."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"a CA for {folder.name}"[:64])])

    def certificate(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, until: datetime.timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + until)
        )

    authority = certificate(issuer, ca_key.public_key(), HOUR).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    server = certificate(subject, key.public_key(), good_for).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
    )
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(authority.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    server_file.write_bytes(
        server.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ca_file, server_file


class Cloud:
    """Accepts the tokens in ``good``, refuses others with ``refusal``, and keeps what it was sent."""

    def __init__(self, certificate: Path, refusal: str) -> None:
        self.good: set[str] = set()
        self.refusal = refusal
        self.seen: list[str] = []
        self.encrypted: list[bool] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30)
        self.port: int = self._listener.getsockname()[1]
        self._sessions: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed, or nobody came for long
                return
            client.settimeout(30)
            try:
                startup = _startup(client)
                encrypted = startup == SSL_REQUEST
                if encrypted:
                    client.sendall(b"S")
                    client = self._tls.wrap_socket(client, server_side=True)
                    _startup(client)
                self._log_in(client, encrypted=encrypted)
            except OSError:  # the client hung up, as it does when it does not trust the certificate
                client.close()

    def _log_in(self, client: socket.socket, *, encrypted: bool) -> None:
        client.sendall(_message(b"R", struct.pack("!I", 3)))  # the password, in clear text
        assert _read(client, 1) == b"p"
        (length,) = struct.unpack("!I", _read(client, 4))
        self.seen.append(_read(client, length - 4).rstrip(b"\0").decode())
        self.encrypted.append(encrypted)
        if self.seen[-1] not in self.good:
            fields = {b"S": "FATAL", b"V": "FATAL", b"C": "28P01", b"M": self.refusal}
            client.sendall(_message(b"E", b"".join(k + v.encode() + b"\0" for k, v in fields.items()) + b"\0"))
            client.close()
            return
        reported = b"".join(_message(b"S", f"{k}\0{v}\0".encode()) for k, v in REPORTED.items())
        ready = _message(b"K", struct.pack("!II", 1, 1)) + _message(b"Z", b"I")
        client.sendall(_message(b"R", struct.pack("!I", 0)) + reported + ready)
        self._sessions.append(client)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(200)
        for session in self._sessions:
            session.close()


def _startup(client: socket.socket) -> int:
    """Read a first message; return its version, or what it requests."""
    (length,) = struct.unpack("!I", _read(client, 4))
    version: int = struct.unpack("!I", _read(client, length - 4)[:4])[0]
    return version


def _read(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = client.recv(count - len(found))
        if not more:
            raise ConnectionError("the client hung up")
        found += more
    return found


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


@contextmanager
def cloud(
    folder: Path, *, refusal: str, name: str = "localhost", good_for: datetime.timedelta = HOUR
) -> Iterator[tuple[Cloud, Path]]:
    """A server, and the file of the CA that vouches for its name."""
    ca, certificate = make_certificates(folder, name, good_for)
    server = Cloud(certificate, refusal)
    try:
        yield server, ca
    finally:
        server.close()
