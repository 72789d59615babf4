"""Errors in the shape that this system's clients know: `{"detail": …}`."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from millstream import MillstreamError

log = structlog.get_logger("millstream_apps.decklists")


class DetailRoute(APIRoute):
    """A route whose errors are `{"detail": …}`; an unforeseen one has `error` too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with errors caught."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except (HTTPException, RequestValidationError):
                raise  # FastAPI's own form of these is the clients'
            except MillstreamError as error:
                return JSONResponse({"detail": error.message}, error.status)
            except Exception:
                log.exception("request_failed", path=request.url.path)
                told = {"error": "Internal server error", "detail": "it is in the server's log"}
                return JSONResponse(told, 500)

        return guarded
