"""A FastAPI application with ``AsyncSession`` dependencies, many of whose clients disconnect."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.middleware.base import BaseHTTPMiddleware

from dbkit import AsyncDatabaseConnectionManager

from ..pool.helpers import Admin
from .helpers import eventually

REQUESTS = 500


def application(db: AsyncDatabaseConnectionManager) -> FastAPI:
    """Two routes: one that asks in a session, one that streams server-sent events."""
    app = FastAPI()

    async def in_middleware(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=in_middleware)

    async def session() -> AsyncIterator[AsyncSession]:
        async with db.session_scope() as found:
            yield found

    in_session = Depends(session, scope="function")

    @app.get("/ask")
    async def ask(session: AsyncSession = in_session) -> int:
        await session.execute(text("SELECT pg_sleep(0.002)"))
        return int(await session.scalar(text("SELECT 1")) or 0)

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            async for row in db.stream_query("SELECT generate_series(1, 100000) AS n", chunk=10):
                yield f"data: {row.n}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    return app


async def visit(app: FastAPI, path: str, *, leaves_after: float | None) -> int:
    """One request, over ASGI itself. The client disconnects after so many seconds; None: it stays.

    Returns:
        The status; 0 if the client left before it came.
    """
    status = 0
    gone = asyncio.Event()
    sent = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent.is_set():
            sent.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        await asyncio.sleep(0)
        if gone.is_set():
            raise OSError("the client has gone")
        status = message.get("status", status)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
    }
    task = asyncio.ensure_future(app(scope, receive, send))
    if leaves_after is not None:
        await asyncio.wait([task], timeout=leaves_after)
        gone.set()
        await asyncio.sleep(0)
        task.cancel()  # what hypercorn does, and uvicorn at its end
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None and leaves_after is None:
        raise task.exception()  # type: ignore[misc]
    return status


def test_five_hundred_requests_of_which_a_third_disconnect(
    run, driver: str, shared_database: str, admin: Admin, caplog
):
    caplog.set_level(logging.WARNING)
    url = shared_database.replace("postgresql://", f"postgresql+{driver}://")

    async def main() -> None:
        async with AsyncDatabaseConnectionManager(url, min_size=2, max_size=8, timeout=60) as db:
            app = application(db)
            visits = [
                visit(
                    app,
                    "/events" if number % 9 == 0 else "/ask",
                    leaves_after=0.001 * (number % 90) if number % 3 == 0 else None,
                )
                for number in range(REQUESTS)
            ]
            statuses = await asyncio.gather(*visits)
            assert [status for number, status in enumerate(statuses) if number % 3] == [200] * (REQUESTS * 2 // 3)
            gc.collect()
            await eventually(lambda: db.stats().in_use == 0 and db.stats().opening == 0)
            stats = db.stats()
            assert (stats.waiting, stats.timeouts) == (0, 0)
            assert stats.idle == stats.size <= 8
            assert (await db.execute_query("SELECT 1")).scalar() == 1

    run(main())
    names = ("dbkit", "sqlalchemy", "asyncio")
    assert [record.getMessage() for record in caplog.records if record.name.startswith(names)] == []
