"""The real azure-identity against a managed identity's endpoint on loopback, as App Service has it."""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.identity.aio import AzureCliCredential as AsyncCredential

from dbkit.credentials import AzureCredential, CredentialError, Token
from dbkit.credentials.azure import AZURE_GOVERNMENT_SCOPE

from ..pool.helpers import eventually
from ..shown import everything_shown
from .helpers import (
    BOUND,
    Asked,
    Provider,
    failure_of,
    in_threads,
    managed_identity,
)

HEADER = "canary-identity-header"
TOKEN = "canary-token"


@pytest.fixture
def ends() -> list[int]:
    """The ``expires_on`` of the tokens to come; an hour from now for those after the last."""
    return []


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, ends: list[int]) -> Iterator[Provider]:
    """A managed identity's endpoint, which gives another token each time."""
    numbers = itertools.count(1)

    def answer(asked: Asked) -> tuple[int, object]:
        end = ends.pop(0) if ends else int(time.time()) + 3600
        return 200, {"access_token": f"{TOKEN}-{next(numbers)}", "expires_on": str(end), "token_type": "Bearer"}

    with managed_identity(monkeypatch, answer, HEADER) as running:
        yield running


def shown(proof: object) -> str:
    assert isinstance(proof, Token)
    return proof.value.reveal()


def test_a_token_with_azures_own_end_is_asked_for_once(endpoint: Provider, ends: list[int]) -> None:
    end = int(time.time()) + 4321
    ends.append(end)
    credential = AzureCredential()

    first, second = credential.current(), credential.current()

    assert isinstance(first, Token)
    assert first is second
    assert shown(first) == f"{TOKEN}-1"
    assert first.expires_at == pytest.approx(end, abs=2)
    (asked,) = endpoint.asked
    assert asked.headers["x-identity-header"] == HEADER
    assert parse_qs(urlsplit(asked.path).query)["resource"] == ["https://ossrdbms-aad.database.windows.net"]


def test_another_scope_is_passed_on(endpoint: Provider) -> None:
    AzureCredential(scope=AZURE_GOVERNMENT_SCOPE).current()
    query = parse_qs(urlsplit(endpoint.asked[0].path).query)
    assert query["resource"] == ["https://ossrdbms-aad.database.usgovcloudapi.net"]


def test_an_answer_that_is_no_good_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = f'{{"access_token": "{TOKEN}", broken'
    with managed_identity(monkeypatch, lambda asked: (200, broken), HEADER):
        error = failure_of(AzureCredential().current)
        assert TOKEN not in everything_shown(error)
        assert TOKEN not in str(vars(error.orig))


def test_a_hundred_threads_at_expiry_ask_once(endpoint: Provider, ends: list[int]) -> None:
    ends.append(int(time.time()))
    credential = AzureCredential()
    assert shown(credential.current()) == f"{TOKEN}-1"  # good for no more than this

    endpoint.open.clear()
    waiting = threading.Thread(target=lambda: (eventually(lambda: len(endpoint.asked) == 2), endpoint.open.set()))
    waiting.start()
    got = in_threads(credential.current, 100)
    waiting.join(BOUND)

    assert [shown(one) for one in got] == [f"{TOKEN}-2"] * 100
    assert len(endpoint.asked) == 2


def test_a_rejected_token_is_not_given_again(endpoint: Provider) -> None:
    credential = AzureCredential()
    first = credential.current()

    renewed = in_threads(lambda: credential.renewed(first), 20)

    assert {shown(one) for one in renewed} == {f"{TOKEN}-2"}
    assert shown(credential.current()) == f"{TOKEN}-2"
    assert len(endpoint.asked) == 2


def test_what_is_replaced_is_closed(endpoint: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[DefaultAzureCredential] = []
    really = DefaultAzureCredential.close
    monkeypatch.setattr(DefaultAzureCredential, "close", lambda self: (closed.append(self), really(self)))
    credential = AzureCredential()
    credential.current()
    credential.refresh()
    assert len(closed) == 1
    credential.refresh()
    assert len(set(closed)) == 2


def test_a_given_credential_that_caches_has_no_other_token(endpoint: Provider) -> None:
    with ManagedIdentityCredential() as given:
        credential = AzureCredential(given)
        first = credential.current()
        assert shown(first) == f"{TOKEN}-1"
        assert credential.renewed(first) is None
        assert len(endpoint.asked) == 1
    assert repr(credential).startswith("AzureCredential(ManagedIdentityCredential, scope='https://ossrdbms-aad.")


def test_anything_with_get_token_will_do() -> None:
    class Own:
        def get_token(self, *scopes: str, **_: object) -> AccessToken:
            return AccessToken(f"{TOKEN} for {scopes}", 4_000_000_000)

    got = AzureCredential(Own(), scope="a-scope").current()
    assert shown(got) == f"{TOKEN} for ('a-scope',)"
    assert got == Token(f"{TOKEN} for ('a-scope',)", 4_000_000_000)


def test_a_hanging_endpoint_is_waited_for_no_longer_than_timeout(endpoint: Provider) -> None:
    endpoint.open.clear()
    with ManagedIdentityCredential(retry_total=0) as given:
        credential = AzureCredential(given, timeout=0.2)
        began = time.monotonic()
        with pytest.raises(CredentialError, match=r"did not answer within timeout=0\.2 s"):
            credential.current()
        assert time.monotonic() - began < BOUND / 4

        endpoint.open.set()
        eventually(lambda: credential.pending() is None)
        assert shown(credential.current()) == f"{TOKEN}-1"  # what came late is kept
        assert len(endpoint.asked) == 1


def test_a_hanging_call_of_ours_ends_by_itself(endpoint: Provider) -> None:
    endpoint.open.clear()
    credential = AzureCredential(timeout=0.2)
    with pytest.raises(CredentialError):
        credential.current()
    eventually(lambda: credential.pending() is None)


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (400, {"statusCode": 400, "message": "no identity is assigned"}, "no identity is assigned"),
        (403, {"statusCode": 403, "message": "not allowed"}, "not allowed"),
        (200, {"access_token": TOKEN}, "managed identity"),  # no end
        (200, {"access_token": TOKEN, "expires_on": "soon"}, "managed identity|invalid literal"),
    ],
)
def test_a_failure_names_the_reason_and_no_secret(
    endpoint: Provider, caplog: pytest.LogCaptureFixture, status: int, answer: object, reason: str
) -> None:
    endpoint.answer = lambda _: (status, answer)
    caplog.set_level(logging.DEBUG)
    credential = AzureCredential()

    error = failure_of(credential.current)

    assert re.search(reason, str(error))
    assert str(error).startswith(f"{credential!r} failed: ClientAuthenticationError: ")
    everything = everything_shown(error) + caplog.text
    assert HEADER not in everything
    assert TOKEN not in everything


def test_neither_repr_nor_the_log_shows_a_token(endpoint: Provider, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credential = AzureCredential()
    got = credential.current()
    credential.renewed(got)
    assert len(endpoint.asked) == 2
    assert "DefaultAzureCredential" in caplog.text
    for text in (caplog.text, repr(credential), repr(got), repr(vars(credential))):
        assert TOKEN not in text
        assert HEADER not in text


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(endpoint: Provider, ends: list[int]) -> None:
    ends.append(int(time.time()))  # so that the child must ask
    credential = AzureCredential()
    credential.current()

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, shown(credential.current()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answers:
        assert answers.read() == f"{TOKEN}-2".encode()
    os.waitpid(child, 0)
    assert len({asked.client_port for asked in endpoint.asked}) == 2


@pytest.mark.parametrize(
    ("given", "complaint"), [(object(), "no method get_token|has none"), (AsyncCredential(), "aio")]
)
def test_what_is_no_credential_is_refused(given: object, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        AzureCredential(given)  # type: ignore[arg-type]


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="scope must not be empty"):
        AzureCredential(scope=" ")
