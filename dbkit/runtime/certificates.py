"""Why a server's certificate was refused: libpq says that it was, and not for which of its faults."""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Final

_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
"""May this be encrypted? The server answers with one letter."""


def fault_of_certificate(host: str, port: int, authorities: str, *, seconds: float = 2.0) -> str | None:
    """Ask the server for its certificate, and look at it again. Sends nothing else.

    Args:
        host, port: the server's.
        authorities: a file of trusted certificates, or ``system``.
        seconds: how long it may take.

    Returns:
        What is wrong, in OpenSSL's words (``certificate has expired``); None where that cannot be found out.
    """
    try:
        context = ssl.create_default_context(cafile=None if authorities == "system" else authorities)
        context.check_hostname = False  # of which libpq says by itself that it does not match
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13's default; libpq refuses nobody for that
        with socket.create_connection((host, port), timeout=seconds) as raw:
            raw.sendall(_SSL_REQUEST)
            if raw.recv(1) == b"S":
                context.wrap_socket(raw).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        return None
    return None
