"""The page of the pool: what a program gets, and what a person sees in a real browser."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from sqlalchemy import make_url

from dbkit import DatabaseConnectionManager, SettingsError
from dbkit.integrations.fastapi import lifespan, pool_router
from dbkit.live import ask

from ..pool.helpers import Task, eventually
from .browser import chromium, served

__all__ = ["chromium"]

TOKEN = "not-to-be-guessed-4711"
HOSTILE = "<img src=x onerror=\"document.title='struck'\">"


@pytest.fixture
def db(database: str) -> Iterator[DatabaseConnectionManager]:
    with DatabaseConnectionManager(database, min_size=1, max_size=4, timeout=30, leak_after=0.2) as manager:
        yield manager


@pytest.fixture
def password(database: str) -> str:
    found = make_url(database).password
    assert found
    return found


@pytest.fixture
def address(db: DatabaseConnectionManager) -> Iterator[str]:
    app = FastAPI(lifespan=lifespan(db))
    app.include_router(pool_router(token=TOKEN, name=HOSTILE, prefix="/internal"))
    with served(app) as found:
        yield f"{found}/internal/pool"


def get(url: str, **headers: str) -> tuple[int, Any, str]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_without_the_token_nothing_is_told(address: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer é"}):
        status, _, body = get(address, **headers)
        assert (status, json.loads(body)) == (401, {"error": "give the token"})


def test_the_page_itself_holds_no_data_and_may_ask_only_its_own_server(address: str, password: str) -> None:
    status, headers, page = get(address, Accept="text/html,*/*")
    assert status == 200
    assert "img src=x" not in page
    assert password not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    nonces = re.findall(r"nonce-([\w-]+)'", headers["Content-Security-Policy"])
    assert set(re.findall(r'nonce="([\w-]+)"', page)) == set(nonces)
    assert get(address, Accept="text/html")[2] != page  # another nonce each time
    assert not re.findall(r"(?:src|href)\s*=", page)  # nothing from outside
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_program_gets_what_the_live_view_understands(
    address: str, db: DatabaseConnectionManager, password: str
) -> None:
    db.pool.start_profile(every=1)
    with db.raw_connection():
        view = ask(address, token=TOKEN)
    assert "test_a_program_gets_what_the_live_view_understands" in view.profile[0].where
    assert (view.pid, view.name, view.max_size, view.in_use) == (os.getpid(), HOSTILE, 4, 1)
    [holder] = view.holders
    assert "test_a_program_gets_what_the_live_view_understands" in " ".join(holder.borrowed_at)
    assert password not in get(address, Authorization=f"Bearer {TOKEN}")[2]


@pytest.mark.parametrize("token", ["", "short", None, 12345678901234567890])
def test_a_token_that_can_be_guessed_is_refused_and_not_shown(token: Any) -> None:
    with pytest.raises(SettingsError, match="16 characters or more") as caught:
        pool_router(token=token)
    assert "short" not in str(caught.value)


# ---- in a browser


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    contexts = []

    def open_page(**options: Any) -> Any:
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.problems = []
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_a_person_gives_the_token_and_sees_the_pool_change(
    opened: Callable[..., Any], address: str, db: DatabaseConnectionManager
) -> None:
    page = opened()
    page.goto(address)
    page.fill("#token", "wrong-wrong-wrong-wrong")
    page.click("text=Show the pool")
    page.wait_for_selector("text=That is not the token.")
    page.problems.clear()  # the browser tells of the 401
    page.fill("#token", TOKEN)
    page.click("text=Show the pool")
    page.wait_for_selector("text=Who holds a connection")
    page.wait_for_selector("text=Nobody.")
    held = db.pool.connect()
    page.wait_for_selector("#holders tr.late")  # out for longer than leak_after
    assert "test_a_person_gives_the_token" in page.inner_text("#holders")
    assert "1 in use" in page.get_attribute("#bar", "aria-label")
    others = [db.pool.connect() for _ in range(3)]
    waiting = Task(db.execute_query, "SELECT 1")
    page.wait_for_selector("#key:has-text('1 waiting')")
    for connection in (held, *others):
        connection.close()
    assert waiting.outcome().scalar() == 1
    page.wait_for_selector("text=Nobody.")
    page.wait_for_selector("#events li:has-text('connections opened')")
    assert page.problems == []


def test_hostile_names_are_text_and_the_token_leaves_the_address(
    opened: Callable[..., Any], address: str, password: str
) -> None:
    page = opened()
    page.goto(f"{address}#token={TOKEN}")
    page.wait_for_selector("text=Who holds a connection")
    assert page.inner_text("h1") == HOSTILE
    assert page.title() == "Connection pool"
    assert page.query_selector("h1 img") is None
    assert TOKEN not in page.url
    assert password not in page.content()
    assert page.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(opened: Callable[..., Any], address: str, scheme: str) -> None:
    page = opened(color_scheme=scheme, viewport={"width": 360, "height": 740}, device_scale_factor=1)
    page.goto(f"{address}#token={TOKEN}")
    page.wait_for_selector("text=Who holds a connection")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    if folder := os.environ.get("DBKIT_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/pool-{scheme}.png", full_page=True)


def test_the_answer_of_a_dead_application_is_told(
    opened: Callable[..., Any], address: str, db: DatabaseConnectionManager
) -> None:
    page = opened()
    page.goto(f"{address}#token={TOKEN}")
    page.wait_for_selector("#state:has-text('live')")
    page.route("**/pool", lambda route: route.abort())
    page.wait_for_selector("#state:has-text('no answer')")
    page.unroute("**/pool")
    assert eventually(lambda: page.inner_text("#state") == "live")
