"""The routes of live flows, under `/flows`. Each is a few lines over `Flows`.

A flow's events are its run's: `GET /runs/{run}/events`, on every wire, resumed from a cursor.
`/flows/{id}/debug` is in `debugging`.
"""

from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from millstream import FlowError, Millstream, ProblemRoute, options_of
from millstream_apps.nodeflow.debugging import debug_routes
from millstream_apps.nodeflow.flows import Action, Flows

State = Literal["queued", "running", "completed", "failed", "cancelled"]
PAGE = "assets/flows.html"
_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
FLOW = {
    "type": "object",
    "required": ["id", "nodes"],
    "properties": {
        "id": _TEXT,
        "name": _TEXT,
        "nodes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type"],
                "properties": {"id": _TEXT, "type": _TEXT, "config": _OBJECT},
            },
        },
        "edges": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["source", "target"],
                "properties": {
                    "source": _TEXT,
                    "target": _TEXT,
                    "sourcePort": _TEXT,
                    "targetPort": _TEXT,
                    "config": _OBJECT,
                },
            },
        },
    },
}
"""JSON Schema of a flow, for OpenAPI; what else is wrong with one, `POST /flows/check` says."""


def routes(app: Millstream, flows: Flows) -> APIRouter:
    """Everything under `/flows`."""
    router = APIRouter(prefix="/flows", tags=["flows"], route_class=ProblemRoute)
    _flows(router, app, flows)
    _nodes(router, app, flows)
    debug_routes(router, app, flows)
    return router


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _json(value: Any, status: int = 200, **headers: str) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _flows(router: APIRouter, app: Millstream, flows: Flows) -> None:
    @router.get("", summary="Flows, newest first; for a browser, the page of live flows")
    async def list_flows(request: Request, state: State | None = None) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(PAGE)
        return _json({"flows": await flows.list(state)})

    @router.get("/nodes", summary="The node library: ports, doc, and each config as JSON Schema")
    async def node_types() -> Response:
        return _json({"nodes": flows.types().described()})

    @router.get("/nodes/{type}", summary="One node type")
    async def node_type(type: str) -> Response:
        return _json(flows.types().find(type).described())

    @router.post(
        "", summary="Start a flow from its JSON", status_code=201, openapi_extra=_body(FLOW)
    )
    async def start_flow(request: Request) -> Response:
        body = await app.service.read_json(request)
        run = await flows.start(body, options_of(request))
        location = f"{app.service.location(run.id).rpartition('/runs/')[0]}/flows/{run.id}"
        return _json(await flows.whole(run.id), 201, Location=location)

    @router.post(
        "/check",
        summary="Everything that is wrong with a flow, without starting it",
        openapi_extra=_body(FLOW),
    )
    async def check_flow(request: Request) -> Response:
        body = await app.service.read_json(request)
        try:
            flows.checked(body)
        except FlowError as error:
            return _json({"valid": False, "errors": error.errors})
        return _json({"valid": True, "errors": []})

    @router.get("/{id}", summary="A flow: its document, its state, what is counted of it")
    async def get_flow(id: str) -> Response:
        return _json(await flows.whole(id))

    @router.delete("/{id}", summary="End a flow")
    async def stop_flow(id: str, reason: str = "asked to") -> Response:
        stopping = await flows.stop(id, reason[:500])
        return _json(await flows.whole(id), 202 if stopping else 200)


def _nodes(router: APIRouter, app: Millstream, flows: Flows) -> None:
    @router.post(
        "/{id}/nodes/{node}/{action}", summary="Pause, resume, stop or start one node of a flow"
    )
    async def act(id: str, node: str, action: Action) -> Response:
        return _json(await flows.act(id, node, action))

    @router.put(
        "/{id}/nodes/{node}/config",
        summary="Give one node another config",
        openapi_extra=_body({"type": "object"}),
    )
    async def configure(id: str, node: str, request: Request) -> Response:
        config = _object(await app.service.read_json(request))
        flow = await flows.configure(id, node, config)
        return _json(next(each for each in flow.nodes if each.id == node))


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise FlowError(f"a node's config is a JSON object: {error}") from error
