"""``/metrics``, for Prometheus. Needs the extra ``prometheus``, too."""

from __future__ import annotations

import os

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response

from dbkit.metrics.prometheus import PoolCollector


def metrics_router(collector: PoolCollector, *, prefix: str = "") -> APIRouter:
    """A router with ``/metrics``: the pool's numbers, and all else that this process registered with Prometheus.

    Where several processes are scraped as one (``PROMETHEUS_MULTIPROC_DIR`` is set), it tells those of all.

    Args:
        collector: ``PoolCollector(db)``; made in each process, after a fork.
        prefix: for the path.
    """
    router = APIRouter(prefix=prefix, tags=["metrics"])

    def scrape() -> bytes:
        registry = CollectorRegistry()
        registry.register(collector)
        told: bytes = generate_latest(registry)
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            others = CollectorRegistry()
            MultiProcessCollector(others)  # type: ignore[no-untyped-call]
            return told + generate_latest(others)
        return told + generate_latest(REGISTRY)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """All metrics, as Prometheus reads them."""
        body = await to_thread.run_sync(scrape, limiter=CapacityLimiter(1))  # it takes the pool's lock
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return router
