"""A certificate that was refused is looked at again, for the reason."""

from __future__ import annotations

import datetime
import socket
import threading
from pathlib import Path

import pytest

from dbkit.runtime.certificates import fault_of_certificate

from ..credentials.cloud import HOUR, cloud, make_certificates
from .helpers import PATIENCE


@pytest.mark.parametrize(("good_for", "fault"), [(HOUR, None), (-HOUR, "certificate has expired")])
def test_of_a_certificate_all_but_the_name_is_judged(tmp_path: Path, good_for: datetime.timedelta, fault: str | None):
    with cloud(tmp_path, refusal="", name="elsewhere.example", good_for=good_for) as (server, ca):
        assert fault_of_certificate("localhost", server.port, str(ca), seconds=PATIENCE) == fault
        assert server.seen == []


def test_one_that_nobody_vouches_for(tmp_path: Path):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
    another_ca, _ = make_certificates(other, "localhost")
    with cloud(own, refusal="") as (server, _):
        for authorities in (str(another_ca), "system"):
            fault = fault_of_certificate("localhost", server.port, authorities, seconds=PATIENCE)
            assert fault is not None
            assert "issuer certificate" in fault


def test_a_server_that_does_not_encrypt_is_sent_no_more(tmp_path: Path):
    heard: list[bytes] = []
    ca, _ = make_certificates(tmp_path, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                heard.append(client.recv(100))
                client.sendall(b"N")
                heard.append(client.recv(100))

        thread = threading.Thread(target=answer)
        thread.start()
        assert fault_of_certificate("127.0.0.1", listener.getsockname()[1], str(ca), seconds=PATIENCE) is None
        thread.join(PATIENCE)
    assert heard == [b"\0\0\0\x08\x04\xd2\x16\x2f", b""]


def test_where_it_cannot_be_found_out_nothing_is_said(tmp_path: Path):
    assert fault_of_certificate("127.0.0.1", 1, str(tmp_path / "there is none.pem")) is None
    ca, _ = make_certificates(tmp_path, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert fault_of_certificate("127.0.0.1", mute.getsockname()[1], str(ca), seconds=0.05) is None
