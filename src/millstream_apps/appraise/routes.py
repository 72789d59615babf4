"""The routes that phones and desktops use for an analysis, and the pages that packets name."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from millstream import Millstream
from millstream_apps.appraise.analyses import Analyses
from millstream_apps.appraise.catalogue_routes import catalogue_routes
from millstream_apps.appraise.companions import about, companions
from millstream_apps.appraise.errors import CORS, AppraiseRoute

PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, x-api-key",
    "Access-Control-Max-Age": "86400",
}
"""What a browser asks before it lets a page of another origin send photos here."""

COMPANIONS = (
    "/mobile-upload/{rest:path}",
    "/api/analyze",
    *(f"/api/{each}/{{rest:path}}" for each in ("proxy", "mobile", "feedback", "pins")),
    "/api/feedback",
    "/api/config",
)
COMPANION_PREFLIGHT = {
    **PREFLIGHT,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Content-Type, x-api-key, Authorization, Idempotency-Key, Last-Event-ID"
    ),
}
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, max-age=3600",
}
"""A display page may do nothing but be looked at. It may be framed: apps show it in their own."""

Asks = Callable[[Request], Awaitable[None]]


def routes_of(name: str) -> Callable[[Millstream], APIRouter]:
    """The routes over the pipeline of this name."""

    def routes(app: Millstream) -> APIRouter:
        analyses = Analyses(app, name)
        keyed = [Depends(_asking(app))]
        both = APIRouter(tags=["appraise"], route_class=AppraiseRoute)
        _open(both, analyses)
        both.include_router(about(app))
        both.include_router(_uploads(analyses), dependencies=keyed)
        both.include_router(companions(analyses), dependencies=keyed)
        both.include_router(catalogue_routes(lambda: app.service), dependencies=keyed)
        return both

    return routes


def _asking(app: Millstream) -> Asks:
    """Who asks. With keys configured, nobody without one gets further."""

    async def asked(request: Request) -> None:
        principal = await app.authenticate(request, required=app.asks)
        request.state.owner = principal.owner

    return asked


def _uploads(analyses: Analyses) -> APIRouter:
    api = APIRouter(route_class=AppraiseRoute)
    photos = {"requestBody": PHOTOS}

    @api.post(
        "/mobile-upload", summary="Packets for phones, one JSON for others", openapi_extra=photos
    )
    @api.post("/api/proxy/mobile-upload", summary="The same", openapi_extra=photos)
    async def mobile_upload(request: Request) -> Response:
        return await analyses.answer(request)

    @api.get("/mobile-upload/{run}", summary="The packets behind a cursor (Last-Event-ID, ?after=)")
    async def resume(run: str, request: Request) -> Response:
        return await analyses.stream(run, request, after=analyses.service.cursor(request))

    @api.post("/api/analyze", summary="One JSON", openapi_extra=photos)
    @api.post("/api/mobile/verify-pin", summary="One JSON, and a record", openapi_extra=photos)
    async def analyze(request: Request) -> Response:
        return await analyses.wait((await analyses.start(request)).id, request)

    return api


def _open(api: APIRouter, analyses: Analyses) -> None:
    """What needs no key: preflights, and pages, whose address only those know who began."""

    @api.options("/mobile-upload", include_in_schema=False)
    async def preflight() -> Response:
        return Response(status_code=200, headers=PREFLIGHT)

    async def companion_preflight() -> Response:
        return Response(status_code=200, headers=COMPANION_PREFLIGHT)

    for path in COMPANIONS:
        api.add_api_route(path, companion_preflight, methods=["OPTIONS"], include_in_schema=False)

    @api.get("/api/analyses/{run}/{name}", summary="A display page, or a part's HTML")
    async def page(run: str, name: str) -> Response:
        html = await analyses.html_of(run, name)
        return Response(html, headers=PAGE_HEADERS, media_type="text/html")


_TEXT = {"type": "string", "description": "base64, alone or as a data URL"}
_FILE = {"type": "string", "format": "binary"}
PHOTOS: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["frontImageData"],
                "properties": {
                    "sessionId": {"type": "string", "pattern": "^[0-9]{12}$"},
                    "frontImageData": _TEXT,
                    "backImageData": _TEXT,
                    "angledImageData": _TEXT,
                },
            }
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["front_image"],
                "properties": {
                    "sessionId": {"type": "string", "pattern": "^[0-9]{12}$"},
                    "front_image": _FILE,
                    "back_image": _FILE,
                    "angled_image": _FILE,
                },
            }
        },
    },
}
"""The OpenAPI description of a request; its body is read as a stream, not by FastAPI."""
