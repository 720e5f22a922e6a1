"""A provider on loopback."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

import pytest

from dbkit.credentials import CredentialError

T = TypeVar("T")

BOUND = 20.0
"""Seconds after which a test that waits gives up."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Asked:
    """One request, as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    client_port: int
    """Tells connections apart."""


Answer = tuple[int, object]
"""A status, and what to send as JSON; a text is sent as it is."""


@dataclass
class Provider:
    """What listens on loopback: its address, what it was asked, and what it answers."""

    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    open: threading.Event = field(default_factory=threading.Event)
    """While cleared, requests are read and not answered."""

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def provider(answer: Callable[[Asked], Answer]) -> Iterator[Provider]:
    """A server that answers by a function, until the end of the block."""
    made = Provider(answer)
    made.open.set()

    class Handler(BaseHTTPRequestHandler):
        timeout = BOUND  # for a client that says nothing
        protocol_version = "HTTP/1.1"  # connections are kept, as real providers do

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {key.lower(): value for key, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body, self.client_address[1])
            made.asked.append(asked)
            made.open.wait(2 * BOUND)  # longer than any test waits
            status, content = made.answer(asked)
            sent = (content if isinstance(content, str) else json.dumps(content)).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Metadata-Flavor", "Google")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)
            except ConnectionError:
                pass  # the one that asked has gone

        do_GET = do_POST = _serve

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.open.set()
        server.shutdown()
        server.server_close()
        thread.join(BOUND)


def go_straight(patch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between the test and its own server."""
    for name in PROXIES:
        patch.delenv(name, raising=False)
        patch.delenv(name.lower(), raising=False)
    patch.setenv("NO_PROXY", "*")


@contextmanager
def managed_identity(patch: pytest.MonkeyPatch, answer: Callable[[Asked], Answer], header: str) -> Iterator[Provider]:
    """A managed identity's endpoint as App Service has it, for azure-identity to find in the environment."""
    go_straight(patch)
    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "IMDS_", "MSI_")):
            patch.delenv(name)
    with provider(answer) as running:
        patch.setenv("IDENTITY_ENDPOINT", f"{running.url}/msi/token")
        patch.setenv("IDENTITY_HEADER", header)
        patch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        yield running


def failure_of(work: Callable[[], object]) -> CredentialError:
    """The error that some work ends with; in a frame of its own, so that it records nothing that a test knows."""
    with pytest.raises(CredentialError) as caught:
        work()
    return caught.value


def in_threads(work: Callable[[], T], count: int) -> list[T | BaseException]:
    """Have many threads do the same at the same time, and collect what each of them got."""
    gate = threading.Barrier(count)
    got: list[T | BaseException] = []

    def run() -> None:
        gate.wait(BOUND)
        try:
            got.append(work())
        except BaseException as error:
            got.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    return got
