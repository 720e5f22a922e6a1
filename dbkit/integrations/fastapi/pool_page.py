"""``/pool``: the pool as a page for people, and as JSON for ``dbkit top --app URL``. Read-only.

There is no such page until an application includes this router, and nothing is told without the token. The page itself
holds no data: it asks for the token, and fetches what it shows. A server with several processes shows one pool for each
of them, as they happen to answer.
"""

from __future__ import annotations

import os
import secrets
from importlib.resources import files
from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header
from starlette.responses import HTMLResponse, JSONResponse, Response

from dbkit.errors import Fault, SettingsError
from dbkit.integrations.fastapi.dependencies import Database
from dbkit.live.view import PoolView
from dbkit.manager import DatabaseConnectionManager

SHORTEST_TOKEN: Final = 16
"""Characters. What can be guessed is no token."""


def pool_router(*, token: str, name: str = "", prefix: str = "") -> APIRouter:
    """A router with ``/pool``: a page that shows the pool live.

    Open it, and give it the token; or open ``/pool#token=...``, which no server sees. A program sends
    ``Authorization: Bearer TOKEN`` and gets JSON.

    Args:
        token: whoever has it may look. 16 characters or more: ``secrets.token_urlsafe()`` makes one.
        name: what to call the pool on the page.
        prefix: for the path.

    Raises:
        SettingsError: the token is too short.
    """
    if not isinstance(token, str) or len(token) < SHORTEST_TOKEN:
        raise SettingsError([Fault("token", f"must be text of {SHORTEST_TOKEN} characters or more", "")])
    router = APIRouter(prefix=prefix, tags=["pool"])
    expected = f"Bearer {token}".encode()

    @router.get("/pool", response_class=HTMLResponse)
    async def pool(
        db: Database,
        accept: Annotated[str, Header()] = "",
        authorization: Annotated[str, Header()] = "",
    ) -> Any:
        """The pool at this moment."""
        if "text/html" in accept and not authorization:
            return _page()
        if not secrets.compare_digest(authorization.encode(), expected):
            return JSONResponse({"error": "give the token"}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        # The pool's lock is taken for that, and threads are looked at: not on the event loop.
        body = await to_thread.run_sync(_picture, db, name, limiter=CapacityLimiter(1))
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    return router


def _picture(db: DatabaseConnectionManager, name: str) -> dict[str, Any]:
    pool = db.pool
    stats = pool.stats()
    view = PoolView.of(stats, pool.holders(), name=name, pid=os.getpid(), profile=pool.profile())
    return {
        **view.to_dict(),
        "leak_after": pool.policy.leak_after,
        "histograms": {
            "wait": stats.wait_time.buckets,
            "use": stats.use_time.buckets,
            "open": stats.open_time.buckets,
        },
    }


def _page() -> Response:
    """The page. It may run its own script and ask its own server, and nothing else."""
    nonce = secrets.token_urlsafe(16)
    text = files(__package__).joinpath("pool_page.html").read_text("utf-8").replace("{{nonce}}", nonce)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text, headers=headers)
