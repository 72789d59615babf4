"""Errors as RFC 9457 problem documents, with a stable `code`."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from millstream.errors import InputError, MillstreamError, NotFound, RequestError
from millstream.events import encode
from millstream.server.limiting import limit_headers
from millstream.values import dotted

log = structlog.get_logger("millstream.server")

CONTENT_TYPE = "application/problem+json"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "description": "a URI reference: about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "stable; switch on this"},
        "retryable": {"type": "boolean"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def problem(error: MillstreamError) -> Response:
    """An error of ours as a response."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
        **error.details(),
    }
    headers = {**limit_headers(), **error.headers}
    return Response(encode(document), error.status, headers, CONTENT_TYPE)


def _as_ours(error: RequestValidationError) -> InputError:
    faults = [{"field": dotted(e["loc"][1:]), "message": e["msg"]} for e in error.errors()]
    said = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    return InputError(said, errors=faults)


def unexplained() -> MillstreamError:
    """What clients are told of a defect of ours: nothing of its insides."""
    return MillstreamError("something went wrong here; it is in our log")


def install(api: FastAPI) -> None:
    """Make problems of what no route catches: unknown paths, wrong methods, errors of ours in
    others' routes, and defects."""

    async def ours(_: Request, error: Exception) -> Response:
        return problem(error) if isinstance(error, MillstreamError) else problem(unexplained())

    api.add_exception_handler(404, _no_route)
    api.add_exception_handler(405, _no_method)
    api.add_exception_handler(MillstreamError, ours)
    api.add_exception_handler(Exception, ours)


async def _no_route(request: Request, error: Exception) -> Response:
    """The router's 404. One that a route raised itself, with words of its own, is left as it is."""
    assert isinstance(error, StarletteHTTPException)
    if error.detail != HTTPStatus.NOT_FOUND.phrase:
        return await http_exception_handler(request, error)
    return problem(NotFound(f"there is nothing at {request.url.path}; see /docs"))


async def _no_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    response = problem(MethodNotAllowed(f"{request.method} is not possible here; see Allow"))
    response.headers.update(error.headers or {})
    return response


class MethodNotAllowed(RequestError):
    """The path is right, the method is not."""

    code = "method_not_allowed"
    status = 405


class ProblemRoute(APIRoute):
    """A route whose errors become problems, also inside somebody else's application."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with errors caught."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            return await guarded(handle, request)

        return handled


async def guarded(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request
) -> Response:
    """The handler's response, or its error as a problem; with what limits the request met."""
    try:
        response = await handle(request)
        if hasattr(response, "raw_headers"):  # a stream has them already
            response.headers.update(limit_headers())
        return response
    except MillstreamError as error:
        return problem(error)
    except RequestValidationError as error:
        return problem(_as_ours(error))
    except HTTPException:
        raise
    except ClientDisconnect:  # in the middle of its body; nobody reads this
        return problem(RequestError("the request's body ended early"))
    except Exception:
        log.exception("request_failed", path=request.url.path)
        return problem(unexplained())
