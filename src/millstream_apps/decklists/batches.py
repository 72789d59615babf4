"""Batches: this system's requests as runs, and its runs as answers.

A request's files become a run's input; what its clients read is a dialect of that run's log, or
its outcome. Nothing is kept here.
"""

from collections.abc import Sequence
from typing import Any

import httpx
import structlog
from fastapi import HTTPException, Request, Response

from millstream import Document, Limits, Millstream, NotFound, Options, RequestError, Upload
from millstream_apps.decklists.dialects import BatchDialect, SingleDialect
from millstream_apps.decklists.pipeline import VALIDATION, pipeline, table
from millstream_apps.decklists.settings import settings

log = structlog.get_logger("millstream_apps.decklists")

SSE_HEADERS = [(b"connection", b"keep-alive")]
MiB = 2**20


class Batches:
    """The system's requests over one application."""

    def __init__(self, app: Millstream) -> None:
        self.app = app

    @property
    def service(self) -> Any:
        """The application's service."""
        return self.app.service

    # --- files in -----------------------------------------------------------------------------

    async def files(self, request: Request, field: str, *, most: int) -> list[Upload]:
        """The files of a form field. An oversized file keeps its place (cut, its real size told),
        so that its neighbours go on. Raises HTTPException in the clients' shape."""
        if table() is None:
            raise HTTPException(503, "Card matcher not initialized")
        limits = Limits(
            body_bytes=(most + 10) * (settings().max_file_bytes + 8 * MiB),
            file_bytes=settings().max_file_bytes,
            files=1000,
        )
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise _missing(field)
        form = await self.service.read_form(request, limits=limits, on_file_too_large="keep_head")
        sizes = dict(form.oversized)
        found = [
            upload.resized(sizes[index]) if index in sizes else upload
            for index, (name, upload) in enumerate(form.files)
            if name in (field, f"{field}[]")
        ]
        if not found or len(found) > most:
            await self.service.discard(form)
            raise (
                _missing(field)
                if not found
                else HTTPException(400, f"Maximum {most} images per batch (received {len(found)})")
            )
        return found

    async def start(self, uploads: Sequence[Upload], request: Request | None = None) -> str:
        """Start a run over these files; its id."""
        key = None if request is None else request.headers.get("idempotency-key")
        document = self.service.document_of(pipeline.name, files=list(uploads))
        run = await self.service.start(pipeline.name, document, Options(key=key))
        return run.id

    # --- answers out --------------------------------------------------------------------------

    async def stream_batch(self, run: str, after: int = 0) -> Response:
        """A run in the batch dialect, from behind a cursor on."""
        names = [upload.filename for upload in await self.uploads(run)]
        return await self.service.respond_in_dialect(
            run,
            "sse",
            BatchDialect(names),
            after=after,
            heartbeat=False,  # a documented client takes every block for an event
            headers=SSE_HEADERS,
        )

    async def stream_one(self, run: str) -> Response:
        """A run over one file in the single dialect."""
        return await self.service.respond_in_dialect(
            run, "sse", SingleDialect(), heartbeat=False, headers=SSE_HEADERS
        )

    async def retry(self, run: str) -> str:
        """A new run over the files that failed in a finished one; its id. Raises RequestError."""
        uploads = await self.uploads(run)
        document = await self.service.document(run)
        if document.ended is None:
            raise RequestError(f"run {run} is still at work; wait for its end")
        if document.state != "completed":
            raise RequestError(f"run {run} was {document.state}; send its files again")
        failed = sorted({told["item"] for told in document.missing if "item" in told})
        if not failed:
            raise RequestError(f"no file of run {run} failed")
        return await self.start([await self.service.copy_upload(uploads[i]) for i in failed])

    async def report(self, run: str, document: Document) -> dict[str, Any]:
        """A batch as one JSON."""
        return batch_report(document, [upload.filename for upload in await self.uploads(run)])

    async def uploads(self, run: str) -> list[Upload]:
        """The files that a run was started with. Raises NotFound."""
        found = await self.service.run(run)
        if found.pipeline != pipeline.name:
            raise NotFound(f"run {run!r} is no batch of decklists")
        return self.service.input_of(found)

    async def outcome_of_one(self, run: str) -> dict[str, Any]:
        """The decklist of a run over one file. Raises HTTPException where there is none."""
        document: Document = await self.service.outcome(run)
        if document.result:
            return document.result[0]
        told = (document.missing or [document.error or {}])[0]
        status = 400 if told.get("code") in (VALIDATION, "processing") else 500
        raise HTTPException(status, told.get("message", "the run did not complete"))


def batch_report(document: Document, names: Sequence[str]) -> dict[str, Any]:
    """A finished batch as one JSON. `results` are the decklists of the files that succeeded, in
    order, each with its `index` and `filename`; `errors` tells of the others."""
    failed = {told["item"]: told for told in document.missing if "item" in told}
    survivors = [index for index in range(len(names)) if index not in failed]
    results = [
        {"index": index, "filename": names[index], **decklist}
        for index, decklist in zip(survivors, document.result or [], strict=False)
    ]
    errors = [
        {
            "index": index,
            "filename": names[index],
            "error": told["message"],
            "error_type": "validation" if told["code"] == VALIDATION else "processing",
        }
        for index, told in sorted(failed.items())
    ]
    accuracies = [result["stats"]["accuracy"] for result in results]
    average = round(sum(accuracies) / len(accuracies), 2) if accuracies else None
    return {
        "total": len(names),
        "successful": len(results),
        "failed": len(names) - len(results),
        "average_accuracy": average,
        "results": results,
        "errors": errors,
    }


def _missing(field: str) -> HTTPException:
    """What FastAPI itself says where a form field is missing."""
    fault = {"type": "missing", "loc": ["body", field], "msg": "Field required", "input": None}
    return HTTPException(422, [fault])


async def save(decklist: dict[str, Any], owner: str, format_id: str) -> Any:
    """Hand a decklist to the main service. Raises HTTPException 502 where that fails."""
    url, key = settings().main_api_url, settings().main_api_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"owner": owner, "format_id": format_id, "decklist": decklist}
    try:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(str(url), json=body, headers=headers)
            answer.raise_for_status()
            return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        log.warning("save_failed", error=type(error).__name__)
        raise HTTPException(502, f"the main service did not take the decklist: {error}") from error
