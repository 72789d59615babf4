"""The companion routes: verify, confirm, feedback, listings, configuration."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from millstream import Millstream, Service
from millstream_apps.appraise.analyses import Analyses, owner_of
from millstream_apps.appraise.errors import AppraiseRoute, BadRequest, Reply
from millstream_apps.appraise.packets import LIMIT
from millstream_apps.appraise.records import Agreement, Record, pin_of
from millstream_apps.appraise.settings import settings

COMMENT_LENGTH = 4000
BODY_BYTES = 64 * 1024
Limit = Query(100, ge=1, le=1000, description="at most so many, the latest first")
Before = Query(None, ge=1, description="only those with a smaller number: the next page")


def companions(analyses: Analyses) -> APIRouter:
    """All of them."""
    api = APIRouter(route_class=AppraiseRoute)
    _pins(api, analyses)
    _feedback(api, analyses)
    return api


def _pins(api: APIRouter, analyses: Analyses) -> None:
    @api.post("/api/mobile/confirm-pin", summary="Its owner's word on an analysis")
    async def confirm_pin(request: Request) -> Response:
        body = await _object(request, analyses.service)
        number = _number(body, "recordNumber")
        agreement, comment = _agreement(body), _comment(body)
        record = await asyncio.to_thread(
            analyses.records.confirm, number, agreement, comment, owner=owner_of(request)
        )
        told = {"recordNumber": record.id, "pinId": record.pin_id, "status": record.state}
        return Reply({"success": True, **told, "userAgreement": agreement})

    @api.get("/api/mobile/provisional-pins", summary="Analyses that nobody has confirmed yet")
    async def provisional_pins(
        request: Request, limit: int = Limit, before: int | None = Before
    ) -> Response:
        found = await asyncio.to_thread(
            analyses.records.list,
            owner=owner_of(request),
            state="provisional",
            before=before,
            limit=limit,
        )
        return _listing("pins", [_pin(each) for each in found])

    @api.get("/api/pins/all", summary="All analyses")
    async def all_pins(
        request: Request, limit: int = Limit, before: int | None = Before
    ) -> Response:
        found = await asyncio.to_thread(
            analyses.records.list, owner=owner_of(request), before=before, limit=limit
        )
        return _listing("pins", [_pin(each) for each in found])


def _feedback(api: APIRouter, analyses: Analyses) -> None:
    @api.post("/api/feedback", summary="Anybody's word on an analysis")
    async def give(request: Request) -> Response:
        body = await _object(request, analyses.service)
        number = _number(body, "analysisId")
        agreement, comment = _agreement(body), _comment(body)
        made = await asyncio.to_thread(
            analyses.records.say, number, agreement, comment, owner=owner_of(request)
        )
        told = {"feedbackId": made, "analysisId": number, "pinId": pin_of(number)}
        return Reply({"success": True, **told, "userAgreement": agreement})

    @api.get("/api/feedback/analysis/{analysis}", summary="What was said of one analysis")
    async def of_one(analysis: int, request: Request, limit: int = Limit) -> Response:
        found = await asyncio.to_thread(
            analyses.records.said, analysis, owner=owner_of(request), limit=limit
        )
        return _listing("feedback", [_plain(each) for each in found], analysisId=analysis)

    @api.get("/api/feedback/all", summary="What was said of all")
    async def of_all(request: Request, limit: int = Limit, before: int | None = Before) -> Response:
        found = await asyncio.to_thread(
            analyses.records.said, owner=owner_of(request), before=before, limit=limit
        )
        return _listing("feedback", [_plain(each) for each in found])


def about(app: Millstream) -> APIRouter:
    """What anybody may know."""
    api = APIRouter(route_class=AppraiseRoute)

    @api.get("/api/proxy/health", summary="The same as /health")
    async def health() -> Response:
        return Reply(health_of(app.settings.port))

    @api.get("/api/config", summary="Limits and formats")
    async def config() -> Response:
        limits = {
            "maxFileSize": settings().max_file_bytes,
            "maxBodySize": settings().max_body_bytes,
            "maxPacketSize": LIMIT,
            "timeout": round(settings().timeout * 1000),
        }
        formats = ["image/jpeg", "image/png", "image/webp", "image/heic"]
        views = {"required": ["front"], "optional": ["back", "angled"]}
        return Reply({"success": True, "limits": limits, "formats": formats, "views": views})

    return api


def health_of(port: int) -> dict[str, Any]:
    """The fields of a health answer."""
    return {"status": "healthy", "timestamp": datetime.now(UTC).isoformat(), "port": port}


# --- bodies --------------------------------------------------------------------------------------


async def _object(request: Request, service: Service) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(await service.read_json(request, limit=BODY_BYTES) or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest("the body must be an object")
    return found


def _number(body: dict[str, Any], field: str) -> int:
    """The analysis's number, by its field or by `pinId`, which must agree. Raises BadRequest."""
    said, pin = body.get(field), body.get("pinId")
    number = _digits(said)
    if said is not None and number is None:
        raise BadRequest(f"{field}: {said!r} is not a number")
    named = None if pin is None else _digits(str(pin).removeprefix("pin-"))
    if pin is not None and (named is None or pin_of(named) != str(pin)):
        raise BadRequest(f"pinId: {pin!r} is no pin id; send it as the analysis gave it")
    if number is None and named is None:
        raise BadRequest(f"Missing required field: {field}")
    if number is not None and named is not None and number != named:
        raise BadRequest(f"pinId: {pin!r} is not the pin of {field} {number}")
    return number if number is not None else named or 0


def _digits(said: object) -> int | None:
    if isinstance(said, bool):
        return None
    text = str(said)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _agreement(body: dict[str, Any]) -> Agreement:
    said = body.get("userAgreement")
    if said not in ("agree", "disagree"):
        raise BadRequest("userAgreement: must be 'agree' or 'disagree'")
    return said


def _comment(body: dict[str, Any]) -> str:
    said = body.get("feedbackComment") or ""
    if not isinstance(said, str):
        raise BadRequest("feedbackComment: must be text")
    if len(said) > COMMENT_LENGTH:
        raise BadRequest(f"feedbackComment: at most {COMMENT_LENGTH} characters")
    return said


# --- answers -------------------------------------------------------------------------------------


def _listing(name: str, found: list[dict[str, Any]], **more: Any) -> Response:
    return Reply({"success": True, **more, "count": len(found), name: found})


def _pin(record: Record) -> dict[str, Any]:
    """One analysis as listed; what each part found is in `parts`."""
    return {**_plain(record), "recordNumber": record.id}


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
