"""The routes of the debugger: `/flows/{id}/debug` as a stream or a report, recording, its file.

A few lines each over the run's Debugger. Filters are safe expressions over a message's value.
"""

from typing import Any, Literal, cast

import msgspec
from fastapi import APIRouter, Request, Response

from millstream import (
    Debugger,
    InputError,
    Millstream,
    PolicyError,
    Threshold,
)
from millstream_apps.nodeflow.expressions import ExpressionError, Function, compile_expression
from millstream_apps.nodeflow.flows import Flows


class Thresholds(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is given replaces what there is. `latency` in milliseconds, the others from 0 to 1."""

    latency: Threshold | None = None
    error_rate: Threshold | None = None
    backpressure: Threshold | None = None
    memory: Threshold | None = None


class Recording(msgspec.Struct, forbid_unknown_fields=True):
    """`recording` turns it on or off; `filter` is an expression over a message's value, or empty
    for all."""

    recording: bool | None = None
    filter: str | None = None


def debug_routes(router: APIRouter, app: Millstream, flows: Flows) -> None:
    """Everything under `/flows/{id}/debug`."""
    _looking(router, app, flows)
    _recording(router, app, flows)


async def debugger_of(app: Millstream, flows: Flows, id: str) -> Debugger:
    """A flow's debugger. Raises NotFound, Conflict where the flow is not at work here."""
    run = await flows.find(id)
    await app.service.live(run.id)
    return app.debuggers.of(run.id)


def predicate(text: str | None) -> Function | None:
    """A filter from its text; None where there is none. Raises InputError."""
    if not text:
        return None
    try:
        return compile_expression(text)
    except ExpressionError as error:
        said = f"filter: {error}"
        raise InputError(said, errors=[{"field": "filter", "message": str(error)}]) from error


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _looking(router: APIRouter, app: Millstream, flows: Flows) -> None:
    @router.get(
        "/{id}/debug",
        summary="Snapshots, alerts and samples of a flow, as they come; as JSON, a report",
    )
    async def debug(id: str, request: Request, filter: str | None = None) -> Response:
        debugger = await debugger_of(app, flows, id)
        form = _form(request.headers.get("accept", ""))
        if form == "json":
            return _json(debugger.report())
        resumed = {"last-event-id", "last_event_id", "after"} & {
            *request.headers.keys(),
            *request.query_params.keys(),
        }
        after = app.service.cursor(request) if resumed else None
        reader = debugger.follow(after, predicate(filter))
        return await app.service.respond_from_feed(reader, form)

    @router.put("/{id}/debug/thresholds", summary="From where on alerts fire")
    async def thresholds(id: str, request: Request) -> Response:
        debugger = await debugger_of(app, flows, id)
        given = _read(await app.service.read_json(request), Thresholds)
        changes = {
            name: value
            for name in ("latency", "error_rate", "backpressure", "memory")
            if (value := getattr(given, name)) is not None
        }
        debugger.rules = msgspec.structs.replace(debugger.rules, **changes)
        return _json(debugger.rules)


def _form(accept: str) -> Literal["sse", "ndjson", "json"]:
    """SSE unless something else is asked for."""
    kinds = [kind.partition(";")[0].strip() for kind in accept.split(",")]
    known = {
        "text/event-stream": "sse",
        "application/x-ndjson": "ndjson",
        "application/json": "json",
    }
    found = next((known[kind] for kind in kinds if kind in known), "sse")
    return cast(Literal["sse", "ndjson", "json"], found)


def _recording(router: APIRouter, app: Millstream, flows: Flows) -> None:
    @router.post("/{id}/debug/recording", summary="Begin or end recording; choose its messages")
    async def record(id: str, request: Request) -> Response:
        debugger = await debugger_of(app, flows, id)
        asked = _read(await app.service.read_json(request), Recording)
        if asked.filter is not None:
            debugger.filter(predicate(asked.filter))
        if asked.recording is not None:
            (debugger.start_recording if asked.recording else debugger.stop_recording)()
        recorded = debugger.recording
        return _json({"recording": recorded.on, "events": len(recorded.events)})

    @router.get("/{id}/debug/recording", summary="What was recorded, as one file")
    async def export(id: str) -> Response:
        debugger = await debugger_of(app, flows, id)
        name = f'attachment; filename="{debugger.run}-debug.json"'
        headers = {"Content-Disposition": name}
        return Response(debugger.export(), headers=headers, media_type="application/json")

    @router.get("/{id}/debug/events", summary="Recorded events, of one connection or all")
    async def events(id: str, connection: str | None = None) -> Response:
        debugger = await debugger_of(app, flows, id)
        return _json({"events": debugger.history(connection)})

    @router.delete("/{id}/debug/recording", summary="Forget what was recorded")
    async def clear(id: str) -> Response:
        debugger = await debugger_of(app, flows, id)
        debugger.clear_history()
        return _json(debugger.report())


def _read(body: bytes, type: Any) -> Any:
    try:
        return msgspec.json.decode(body or b"{}", type=type)
    except (msgspec.ValidationError, msgspec.DecodeError, PolicyError) as error:
        raise InputError(f"the body: {error}") from error
