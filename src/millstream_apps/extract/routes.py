"""The routes that this system's clients use, with their aliases."""

from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from millstream import Millstream
from millstream_apps.extract.access import Access
from millstream_apps.extract.crawls import Crawls, last_result
from millstream_apps.extract.errors import CORS, ErrorRoute, refusal
from millstream_apps.extract.headers import PREFLIGHT
from millstream_apps.extract.models import CrawlBody, SearchBody, SiteBody
from millstream_apps.extract.settings import ExtractSettings
from millstream_apps.extract.slots import Slots
from millstream_apps.extract.socket import Session

Wire = Literal["ndjson", "sse"]

STREAMS = ("/crawl/stream", "/api/v1/crawl/stream", "/api/v1/stream/crawl")
EVENTS = ("/crawl/sse", "/api/v1/crawl/sse", "/api/v1/sse/crawl")
SEARCHES = ("/deepsearch/stream", "/api/v1/deepsearch/stream", "/api/v1/stream/deepsearch")
SITES = ("/crawl/site", "/api/v1/crawl/site")
WHOLE = ("/crawl", "/api/v1/crawl")
SOCKETS = ("/crawl/ws", "/api/v1/crawl/ws", "/api/v1/ws/crawl")


def make_routes(app: Millstream, settings: ExtractSettings, slots: Slots) -> APIRouter:
    """All of them over one application."""
    api = APIRouter(tags=["extract"], route_class=ErrorRoute)
    crawls, access = Crawls(app, settings), Access(app, settings)
    _crawl(api, crawls, access)
    _resume(api, crawls, access)
    _search(api, crawls, access)
    _site(api, crawls, access)
    _socket(api, crawls, access, slots)
    for path in (*STREAMS, *EVENTS, *SEARCHES, *SITES, *WHOLE):
        api.add_api_route(path, preflight, methods=["OPTIONS"], include_in_schema=False)
        others = ["GET", "PUT", "PATCH", "DELETE"]
        api.add_api_route(path, only_post, methods=others, include_in_schema=False)
    return api


async def preflight(_: Request) -> Response:
    """What browsers ask before they send a request from another site's page."""
    return Response(status_code=204, headers=PREFLIGHT)


async def only_post(request: Request) -> Response:
    """The path is right, the method is not."""
    said = f"{request.method} is not possible here; send a POST"
    return refusal(405, said, {"Allow": "POST, OPTIONS"})


async def only_sockets(_: Request) -> Response:
    """A WebSocket's path, asked for without a handshake (RFC 9110, section 15.5.22)."""
    return refusal(426, "open a WebSocket here", {"Upgrade": "websocket", "Connection": "Upgrade"})


def _crawl(api: APIRouter, crawls: Crawls, access: Access) -> None:
    async def whole(request: Request) -> Response:
        await access.counted(request)
        run = await crawls.start(request)
        headers = {**CORS, "X-Request-ID": run.id}
        return JSONResponse(await crawls.outcome(run), headers=headers)

    async def streamed(request: Request, wire: Wire) -> Response:
        last = last_result(request)
        run = await crawls.broken_off(request) or await crawls.start(request)
        return await crawls.stream(run, wire, request, last=last)

    async def lines(request: Request) -> Response:
        await access.counted(request)
        return await access.places.holding(request, partial(streamed, request, "ndjson"))

    async def events(request: Request) -> Response:
        await access.counted(request)
        return await access.places.holding(request, partial(streamed, request, "sse"))

    described = _body(CrawlBody)
    _post(api, WHOLE, whole, "Crawl URLs; one JSON when all are done", described)
    _post(api, STREAMS, lines, "Crawl URLs; a line (NDJSON) as each is done", described)
    _post(api, EVENTS, events, "Crawl URLs; an event (SSE) as each is done", described)


def _resume(api: APIRouter, crawls: Crawls, access: Access) -> None:
    async def streamed(run: str, request: Request, wire: Wire) -> Response:
        found = await crawls.crawl(run)
        return await crawls.stream(found, wire, request, last=last_result(request))

    @api.get("/crawl/stream/{run}", summary="Go on with a crawl's lines (`?after=` an index)")
    async def lines(run: str, request: Request) -> Any:
        await access.asked(request)
        return await access.places.holding(request, partial(streamed, run, request, "ndjson"))

    @api.get("/crawl/sse/{run}", summary="Go on with a crawl's events (`Last-Event-ID`)")
    async def events(run: str, request: Request) -> Any:
        await access.asked(request)
        return await access.places.holding(request, partial(streamed, run, request, "sse"))


def _search(api: APIRouter, crawls: Crawls, access: Access) -> None:
    async def streamed(request: Request) -> Response:
        return await crawls.stream_search(await crawls.search(request), request)

    async def search(request: Request) -> Response:
        await access.counted(request)
        return await access.places.holding(request, partial(streamed, request))

    _post(api, SEARCHES, search, "Search, and crawl what is found", _body(SearchBody))


def _site(api: APIRouter, crawls: Crawls, access: Access) -> None:
    async def begun(request: Request) -> Response:
        return await crawls.stream_site(await crawls.site(request), request)

    async def again(run: str, request: Request) -> Response:
        return await crawls.stream_site(await crawls.site_run(run), request)

    async def site(request: Request) -> Response:
        await access.counted(request)
        return await access.places.holding(request, partial(begun, request))

    _post(api, SITES, site, "Crawl a site; a line (NDJSON) for each page", _body(SiteBody))

    @api.get("/crawl/site/{run}", summary="A site's lines once more, and those to come")
    async def lines(run: str, request: Request) -> Any:
        await access.asked(request)
        return await access.places.holding(request, partial(again, run, request))


def _socket(api: APIRouter, crawls: Crawls, access: Access, slots: Slots) -> None:
    async def socket(websocket: WebSocket) -> None:
        await Session(websocket, crawls, access, slots).serve()

    for path in SOCKETS:
        api.add_api_websocket_route(path, socket)
        api.add_api_route(path, only_sockets, methods=["GET"], include_in_schema=False)


def _post(
    api: APIRouter, paths: tuple[str, ...], endpoint: Any, summary: str, described: dict[str, Any]
) -> None:
    for index, path in enumerate(paths):
        api.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary=summary,
            openapi_extra=described,
            include_in_schema=index == 0,
            response_model=None,
        )


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a body; it is read by the pipeline, not by FastAPI."""
    schema = inlined(model.model_json_schema())
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema without references to definitions of its own."""
    definitions = schema.pop("$defs", {})

    def spread(value: Any) -> Any:
        if isinstance(value, list):
            return [spread(each) for each in value]
        if not isinstance(value, dict):
            return value
        named = value.get("$ref", "").rpartition("/")[2]
        rest = {key: spread(each) for key, each in value.items() if key != "$ref"}
        return {**spread(definitions[named]), **rest} if named in definitions else rest

    return spread(schema)
