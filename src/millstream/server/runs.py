"""The native routes: pipelines and runs. Each is a few lines over `Service`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from millstream.core.graph import Graph
from millstream.errors import NotFound
from millstream.events import encode, iso
from millstream.server import openapi
from millstream.server.accept import Form, accepted, cursor, negotiate, wants_no_wait
from millstream.server.problems import ProblemRoute
from millstream.server.service import Service, options_of
from millstream.store import Run
from millstream.values import describe

State = Literal["queued", "running", "completed", "failed", "cancelled"]
_NO_RUN = openapi.problems(_404="No such run.", _422="A parameter does not fit.")
_FORMS: tuple[Form, ...] = ("json", "sse", "ndjson")


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response, encoded the way events are."""
    return Response(encode(value), status, headers, "application/json")


def router(service: Service) -> APIRouter:
    """The native routes over one service."""
    routes = APIRouter(route_class=ProblemRoute)
    _pipelines(routes, service)
    _runs(routes, service)
    return routes


def _pipelines(routes: APIRouter, service: Service) -> None:
    @routes.get(
        "/pipelines",
        tags=["pipelines"],
        summary="What can be run here",
        responses={200: openapi.as_json("The pipelines.", openapi.PIPELINES)},
    )
    async def list_pipelines() -> Response:
        graphs = service.engine.graphs.values()
        return json({"pipelines": [describe_pipeline(service, graph) for graph in graphs]})

    @routes.get(
        "/pipelines/{name}",
        tags=["pipelines"],
        summary="One pipeline: its input's schema and its graph",
        responses={
            200: openapi.as_json("The pipeline.", openapi.PIPELINE),
            **openapi.problems(_404="No such pipeline."),
        },
    )
    async def get_pipeline(name: str) -> Response:
        return json(describe_pipeline(service, service.engine.graph(name)))

    for graph in service.engine.graphs.values():
        _start(routes, service, graph)

    @routes.post("/pipelines/{name}/runs", include_in_schema=False)
    async def start_unknown(name: str) -> Response:
        service.engine.graph(name)  # says which there are
        raise NotFound(f"pipeline {name!r} cannot be run by this path")


def _start(routes: APIRouter, service: Service, graph: Graph) -> None:
    """The route by which one pipeline is run; one each, so that OpenAPI knows what each takes."""
    codec = service.engine.inputs[graph.name]

    @routes.post(
        f"/pipelines/{graph.name}/runs",
        tags=["runs"],
        summary=f"Start a run of {graph.name}, and follow it in the form that Accept asks for",
        operation_id=f"start_{graph.name}",
        openapi_extra={
            "parameters": openapi.parameters(*openapi.OPTIONS, *openapi.CURSORS),
            "requestBody": openapi.request_body(codec),
        },
        responses=openapi.START,
    )
    async def start_run(request: Request) -> Any:
        return await start(service, graph.name, request)


def _runs(routes: APIRouter, service: Service) -> None:
    @routes.get(
        "/runs",
        tags=["runs"],
        summary="Runs, newest first",
        responses={
            200: openapi.as_json("A page of runs.", openapi.PAGE),
            **openapi.problems(_422="A parameter does not fit."),
        },
    )
    async def list_runs(
        pipeline: str | None = None,
        state: State | None = None,
        before: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        found = await service.runs(pipeline=pipeline, state=state, before=before, limit=limit)
        more = found[-1].id if len(found) == limit else None
        return json({"runs": [summary(run) for run in found], "next": more})

    @routes.get(
        "/runs/{run}",
        tags=["runs"],
        summary="A run's document as of now (or, by Accept, its events)",
        openapi_extra={"parameters": openapi.parameters(*openapi.CURSORS)},
        responses={
            200: openapi.followed("The run as of now, or its events."),
            204: {"description": "You have all its events."},
            406: openapi.problems(_406="Accept fits nothing here.")[406],
            **_NO_RUN,
        },
    )
    async def get_run(run: str, request: Request) -> Any:
        form, after = negotiate(accepted(request), "json", _FORMS), cursor(request)
        if form == "json":
            return json(await service.document(run), headers={"Vary": "Accept"})
        return await service.respond(run, form, after=after)

    @routes.get(
        "/runs/{run}/events",
        tags=["runs"],
        summary="A run's events, from the cursor on, to the last one",
        openapi_extra={"parameters": openapi.parameters(*openapi.CURSORS)},
        responses={
            200: openapi.followed("The events; as JSON, the outcome when there is one."),
            204: {"description": "You have all its events."},
            406: openapi.problems(_406="Accept fits nothing here.")[406],
            **_NO_RUN,
        },
    )
    async def get_events(run: str, request: Request) -> Any:
        return await follow(service, run, request)

    @routes.delete(
        "/runs/{run}",
        tags=["runs"],
        summary="Cancel a run",
        openapi_extra={"parameters": openapi.parameters("reason")},
        responses={
            200: openapi.as_json("It had ended already.", openapi.DOCUMENT),
            202: openapi.as_json(
                "Its work is being stopped; its log will say so last.", openapi.DOCUMENT
            ),
            **_NO_RUN,
        },
    )
    async def cancel_run(run: str, request: Request) -> Response:
        reason = request.query_params.get("reason", "asked to")[:500]
        stopping = await service.cancel(run, reason)
        return json(await service.document(run), 202 if stopping else 200)


async def start(service: Service, pipeline: str, request: Request) -> Response:
    """Start a run, and follow it in the form that was asked for."""
    form = negotiate(accepted(request), "json", _FORMS)
    options, after = options_of(request), cursor(request)
    if not wants_no_wait(request):
        service.places.check()  # before anything is begun
    document = await service.read_document(pipeline, request)
    run = await service.start(pipeline, document, options)
    if wants_no_wait(request):
        headers = {"Location": service.location(run.id), "Preference-Applied": "respond-async"}
        return json(await service.document(run.id), 202, headers)
    return await service.respond(run.id, form, after=after, options=options)


async def follow(service: Service, run: str, request: Request) -> Response:
    """A run's events, in the form that was asked for."""
    form = negotiate(accepted(request), "sse", ("sse", "ndjson", "json"))
    return await service.respond(run, form, after=cursor(request))


def summary(run: Run) -> dict[str, Any]:
    """A run in a list: its document without what must be read from its log."""
    return {
        "id": run.id,
        "pipeline": run.pipeline,
        "state": run.state,
        "tier": run.tier,
        "created": iso(run.created),
        "started": None if run.started is None else iso(run.started),
        "ended": None if run.ended is None else iso(run.ended),
        "seq": run.seq,
    }


def describe_pipeline(service: Service, graph: Graph) -> dict[str, Any]:
    """A pipeline for clients: what it takes, and its graph."""
    codec = service.engine.inputs[graph.name]
    return {
        "name": graph.name,
        "doc": graph.doc,
        "input": codec.schema(),
        "fields": [{"name": f.name, "file": f.file, "many": f.many} for f in codec.fields],
        "outputs": list(graph.outputs),
        "steps": [
            {
                "name": step.name,
                "scope": list(graph.scopes[step.name]),
                "yields": step.yields,
                "optional": step.optional,
                "internal": step.internal,
                "returns": describe(step.returns),
                "reads": [
                    {"parameter": a.parameter, "from": a.source, "reading": a.reading.value}
                    for a in step.arrows
                ],
            }
            for step in graph.steps.values()
        ],
    }
