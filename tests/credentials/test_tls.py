"""Tokens as the clouds take them: over TLS, in clear text, to a server that has proved who it is."""

from __future__ import annotations

import itertools

import psycopg2
import pytest

from dbkit import DatabaseSettings
from dbkit.credentials import Token
from dbkit.engine import build_engine

from ..shown import everything_shown
from .cloud import cloud

FAR = 10.0**10
AZURE = "The access token has expired. Acquire a new token and retry."
CANARY = "t0ken-canary"


def connector(server, ca, credential, **more):
    settings = DatabaseSettings.load(
        {"host": "localhost", "port": server.port, "username": "app", "database": "shop", "sslmode": "verify-full",
         "sslrootcert": str(ca), "gssencmode": "disable"} | more,
        environ={}, env_file=None, min_size=0,
    )  # fmt: skip
    return build_engine(settings, credential=credential).pool._creator


def numbered():
    numbers = itertools.count(1)
    return lambda: Token(f"{CANARY}-{next(numbers)}", FAR)


def test_an_expired_token_is_replaced_over_tls(tmp_path):
    with cloud(tmp_path, refusal=AZURE) as (server, ca):
        server.good.add(f"{CANARY}-2")
        connect = connector(server, ca, numbered())
        connect().close()
        connect().close()
        assert server.seen == [f"{CANARY}-1", f"{CANARY}-2", f"{CANARY}-2"]
        assert server.encrypted == [True] * 3


@pytest.mark.parametrize("refusal", [AZURE, 'PAM authentication failed for user "app"'])
def test_a_refusal_for_good_shows_no_token(tmp_path, refusal):
    with cloud(tmp_path, refusal=refusal) as (server, ca):
        with pytest.raises(psycopg2.OperationalError, match=refusal.split()[0]) as caught:
            connector(server, ca, numbered())()
        assert len(server.seen) == 2  # once more, and no more than that
        assert CANARY not in everything_shown(caught.value)


def test_a_server_that_cannot_prove_who_it_is_gets_no_token(tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    with cloud(tmp_path, refusal=AZURE) as (server, _), cloud(stranger, refusal=AZURE) as (_, another_ca):
        with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
            connector(server, another_ca, numbered())()
        assert server.seen == []


def test_a_server_with_a_certificate_for_another_name_gets_no_token(tmp_path):
    with cloud(tmp_path, refusal=AZURE, name="elsewhere.example") as (server, ca):
        with pytest.raises(psycopg2.OperationalError, match="does not match"):
            connector(server, ca, numbered())()
        assert server.seen == []
