"""The routes that this system's clients use, under `/api` and `/api/v1`, and what goes beyond."""

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from millstream import Millstream, NotFound, __version__
from millstream_apps.decklists.batches import Batches, save
from millstream_apps.decklists.errors import DetailRoute
from millstream_apps.decklists.export import exported
from millstream_apps.decklists.models import DecklistResponse
from millstream_apps.decklists.pipeline import table
from millstream_apps.decklists.settings import settings


def routes(app: Millstream) -> APIRouter:
    """Everything under both prefixes, and `/stats`."""
    batches = Batches(app)
    both = APIRouter()
    api = APIRouter(tags=["decklists"], route_class=DetailRoute)
    _single(api, batches)
    _batch(api, batches)
    _beyond(api, batches)
    _about(api)
    both.include_router(api, prefix="/api/v1")
    both.include_router(api, prefix="/api")
    both.add_api_route("/stats", stats, methods=["GET"], tags=["decklists"])
    return both


def _single(api: APIRouter, batches: Batches) -> None:
    @api.post("/process", response_model=DecklistResponse, openapi_extra=_form("file"))
    async def process(request: Request) -> Response:
        run = await batches.start(await batches.files(request, "file", most=1), request)
        return JSONResponse(await batches.outcome_of_one(run))

    @api.post("/process-stream", openapi_extra=_form("file"))
    async def process_stream(request: Request) -> Response:
        run = await batches.start(await batches.files(request, "file", most=1), request)
        return await batches.stream_one(run)

    @api.post("/process-and-save", openapi_extra=_form("file"))
    async def process_and_save(request: Request, owner: str, format_id: str) -> Response:
        if settings().main_api_url is None:
            raise HTTPException(503, "MAIN_API_URL is not configured")
        run = await batches.start(await batches.files(request, "file", most=1), request)
        decklist = await batches.outcome_of_one(run)
        return JSONResponse({"decklist": decklist, "saved": await save(decklist, owner, format_id)})


def _batch(api: APIRouter, batches: Batches) -> None:
    async def begin(request: Request) -> str:
        most = settings().max_batch_size
        return await batches.start(await batches.files(request, "files", most=most), request)

    @api.post("/process-batch", openapi_extra=_form("files", many=True))
    async def process_batch(request: Request) -> Response:
        run = await begin(request)
        return JSONResponse(await batches.report(run, await batches.service.outcome(run)))

    @api.post("/process-batch-stream", openapi_extra=_form("files", many=True))
    async def process_batch_stream(request: Request) -> Response:
        return await batches.stream_batch(await begin(request))

    @api.post("/process-batch-fast", openapi_extra=_form("files", many=True))
    async def process_batch_fast(request: Request) -> Response:
        if not settings().enable_parallel:
            raise HTTPException(400, "Parallel processing is disabled: set ENABLE_PARALLEL=true")
        return await batches.stream_batch(await begin(request))


def _beyond(api: APIRouter, batches: Batches) -> None:
    @api.get("/batches/{run}/stream", summary="Resume a batch's stream (Last-Event-ID)")
    async def resume(run: str, request: Request) -> Response:
        return await batches.stream_batch(run, batches.service.cursor(request))

    @api.post("/batches/{run}/retry", summary="Once more, only the files that failed")
    async def retry(run: str) -> Response:
        return await batches.stream_batch(await batches.retry(run))

    @api.get("/batches/{run}/decklists/{index}", summary="One decklist: JSON, text or CSV")
    async def decklist(
        run: str, index: int, format: Literal["json", "text", "csv"] = Query("json")
    ) -> Response:
        report = await batches.report(run, await batches.service.document(run))
        found = next((each for each in report["results"] if each["index"] == index), None)
        if found is None:
            raise NotFound(f"run {run} has no decklist {index}")
        del found["index"], found["filename"]
        return exported(DecklistResponse.model_validate(found), format)

    @api.post("/export", summary="A decklist as text (`3 Card Name`) or CSV")
    async def export_decklist(
        decklist: DecklistResponse, format: Literal["json", "text", "csv"] = Query("text")
    ) -> Response:
        return exported(decklist, format)


def _about(api: APIRouter) -> None:
    api.add_api_route("/stats", stats, methods=["GET"])

    @api.get("/health", summary="Always 200; `status` says how it is")
    async def health() -> dict[str, Any]:
        cards = table()
        return {
            "status": "healthy" if cards is not None else "degraded",
            "service": "decklists",
            "version": __version__,
            "timestamp": datetime.now(UTC).isoformat(),
            "matcher_loaded": cards is not None,
            "total_cards_in_db": 0 if cards is None else len(cards),
        }


async def stats() -> dict[str, Any]:
    """What the matcher knows and what the parser takes."""
    cards = table()
    return {
        "matcher": {
            "total_cards": 0 if cards is None else len(cards),
            "base_names": 0 if cards is None else len(cards.base_names),
            "supported_languages": ["zh-CN", "en"],
        },
        "parser": {
            "ocr_engines": ["rapidocr"],
            "supported_formats": ["jpg", "jpeg", "png"],
            "max_file_size_mb": settings().max_file_size_mb,
            "use_gpu": settings().use_gpu,
        },
    }


def _form(field: str, *, many: bool = False) -> dict[str, Any]:
    """The OpenAPI description of a form with files; they are read as a stream, not by FastAPI."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    kind = {"type": "array", "items": file} if many else file
    schema = {"type": "object", "required": [field], "properties": {field: kind}}
    body = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    return {"requestBody": body}
