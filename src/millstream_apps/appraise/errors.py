"""Errors in the shape that this system's clients know: `{"success": false, "error": …}`."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from millstream import InputError, MillstreamError, RequestError, Unauthenticated

log = structlog.get_logger("millstream_apps.appraise")

INVALID_KEY = "Invalid API key"
CORS = {"Access-Control-Allow-Origin": "*"}


class BadRequest(RequestError):
    """400, in words that this system's clients know."""


class Reply(JSONResponse):
    """JSON that pages of any origin may read: keys travel in a header, never in a cookie."""

    def __init__(
        self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status, {**CORS, **(headers or {})})


def refusal(error: MillstreamError) -> Response:
    """An error of ours in this system's shape."""
    told: dict[str, Any] = {"success": False, "error": error.message}
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, Unauthenticated):
        told["error"] = INVALID_KEY
    elif error.status >= 500:
        told |= {"error": _headline(error), "message": error.message}
        if (after := getattr(error, "retry_after", None)) is not None:
            headers["Retry-After"] = str(max(1, round(after)))
    status = 400 if isinstance(error, InputError) else error.status
    return Reply(told, status, headers)


def _headline(error: MillstreamError) -> str:
    return "Service unavailable" if error.status == 503 else "Analysis failed"


class AppraiseRoute(APIRoute):
    """A route whose errors have this system's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with errors caught."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except MillstreamError as error:
                return refusal(error)
            except RequestValidationError as error:
                faults = (f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
                return Reply({"success": False, "error": "; ".join(faults)}, 400)
            except HTTPException:
                raise
            except ClientDisconnect:  # in the middle of its body; nobody reads this
                return Reply({"success": False, "error": "the request's body ended early"}, 400)
            except Exception:
                log.exception("request_failed", path=request.url.path)
                return Reply({"success": False, "error": "Internal server error"}, 500)

        return guarded
