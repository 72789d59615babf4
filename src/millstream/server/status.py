"""Health, readiness, metrics and status: what operators and other systems ask."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.requests import HTTPConnection

from millstream.errors import StoreError
from millstream.events import encode
from millstream.observe.lag import LagMeter
from millstream.observe.metrics import CONTENT_TYPE, Metrics
from millstream.server.problems import ProblemRoute
from millstream.server.service import Service
from millstream.server.sockets import Sockets


def gauges(service: Service, sockets: Sockets, lag: LagMeter) -> dict[str, float]:
    """Figures of this moment."""
    engine = service.engine
    return {
        "runs_active": engine.worker.busy,
        "runs_capacity": engine.worker.max_runs,
        "streams_open": len(service.streams),
        "streams_stalled_total": service.streams.stalled,
        "sockets_open": len(sockets),
        "readers": engine.tails.watchers,
        "tails": len(engine.tails),
        "cache_hits_total": engine.caching.statistics().hits,
        "cache_misses_total": engine.caching.statistics().misses,
        "loop_lag_seconds_worst": round(lag.worst, 6),
    }


def router(
    service: Service,
    sockets: Sockets,
    metrics: Metrics,
    lag: LagMeter,
    *,
    version: str,
    not_ready: Callable[[], Awaitable[str | None]],
    ask: Callable[[HTTPConnection], Awaitable[None]],
) -> APIRouter:
    """`/healthz`, `/readyz`, `/metrics`, `/status`. `ask` is awaited before the last two: they tell
    what strangers need not know. Probes bring no keys."""
    asked = [Depends(ask)]
    routes = APIRouter(tags=["operations"], route_class=ProblemRoute)

    @routes.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": version}

    @routes.get("/readyz", summary="It can take work", responses={503: {"description": "Not now."}})
    async def readyz() -> Response:
        why = await not_ready()
        if why is None:
            try:
                await service.engine.store.runs(limit=1)
            except StoreError as error:
                why = error.message
        body: Mapping[str, Any] = {"ready": why is None, "reason": why}
        return Response(encode(body), 200 if why is None else 503, media_type="application/json")

    @routes.get("/metrics", summary="Prometheus metrics", dependencies=asked)
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    @routes.get("/status", summary="What is going on, as JSON", dependencies=asked)
    async def status() -> Response:
        body = {
            "version": version,
            "draining": service.engine.worker.draining,
            **gauges(service, sockets, lag),
            "executors": service.engine.executors.statistics(),
        }
        return Response(encode(body), media_type="application/json")

    return routes
