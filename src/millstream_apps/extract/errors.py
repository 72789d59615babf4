"""Errors in the shape that this system's clients know: `{error: {type, message, retryable,
status}}`, over HTTP and inside streams.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from millstream import InputError, MillstreamError, Unavailable

log = structlog.get_logger("millstream_apps.extract")

TYPES = {
    400: "validation_error",
    401: "authentication_error",
    403: "authentication_error",
    404: "not_found",
    405: "validation_error",
    408: "timeout_error",
    409: "validation_error",
    413: "payload_too_large",
    415: "validation_error",
    422: "validation_error",
    426: "validation_error",
    429: "rate_limited",
    500: "internal_error",
    502: "fetch_error",
    503: "dependency_error",
}
"""What an HTTP status is called."""

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
}


def told(error: MillstreamError) -> tuple[int, dict[str, Any]]:
    """An error of ours: its HTTP status, and what clients are told."""
    status, kind = error.status, TYPES.get(error.status, "internal_error")
    message = error.message
    if isinstance(error, InputError):
        status, kind, message = 400, "validation_error", faults(error)
        if any(_is_of_url(fault) for fault in error.errors):
            kind = "invalid_url"
    return status, shape(kind, message, status, retryable=error.retryable or status == 429)


def _is_of_url(fault: Mapping[str, str]) -> bool:
    return fault["field"] == "url" or "urls[" in fault["message"]


def faults(error: InputError) -> str:
    """What is wrong with an input, in one line, field by field."""
    said = (_fault(fault["field"], fault["message"]) for fault in error.errors)
    return "; ".join(said) or error.message


def _fault(field: str, message: str) -> str:
    words = message.removeprefix("Value error, ")
    return words if words.startswith(f"{field}[") or not field else f"{field}: {words}"


def shape(kind: str, message: str, status: int, *, retryable: bool = False) -> dict[str, Any]:
    """The document of an error."""
    return {"error": {"type": kind, "message": message, "retryable": retryable, "status": status}}


def response(error: MillstreamError) -> Response:
    """An error of ours as a response."""
    status, document = told(error)
    headers: Mapping[str, str] = getattr(error, "headers", {})
    if isinstance(error, Unavailable):
        headers = {"Retry-After": str(max(1, round(error.retry_after))), **headers}
    return JSONResponse(document, status, headers={**CORS, **headers})


Handle = Callable[[Request], Coroutine[Any, Any, Response]]


def refusal(status: int, message: str, headers: Mapping[str, str]) -> Response:
    """A request that is refused as it stands."""
    document = shape(TYPES.get(status, "validation_error"), message, status)
    return JSONResponse(document, status, headers={**CORS, **headers})


class ErrorRoute(APIRoute):
    """A route whose errors have this system's shape. One without parameters takes the request
    alone, so that it can be served directly (see `millstream.server.shortcuts`)."""

    def get_route_handler(self) -> Handle:
        """The handler, with errors caught."""
        handle = super().get_route_handler()

        async def caught(request: Request) -> Response:
            return await guarded(handle, request)

        return caught

    async def direct(self, request: Request) -> Response:
        """The same past the framework."""
        return await guarded(self.endpoint, request)


async def guarded(handle: Handle, request: Request) -> Response:
    """The handler's response, or its error in this system's shape."""
    try:
        return await handle(request)
    except MillstreamError as error:
        return response(error)
    except RequestValidationError as error:
        said = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
        return JSONResponse(shape("validation_error", said, 400), 400, headers=CORS)
    except HTTPException as error:
        kind = TYPES.get(error.status_code, "internal_error")
        document = shape(kind, str(error.detail), error.status_code)
        return JSONResponse(document, error.status_code, headers=CORS)
    except ClientDisconnect:  # in the middle of its body; nobody reads this
        return JSONResponse(shape("validation_error", "the body ended early", 400), 400)
    except Exception:
        log.exception("request_failed", path=request.url.path)
        said = "something went wrong here; it is in our log"
        return JSONResponse(shape("internal_error", said, 500), 500, headers=CORS)
