"""The description of the interface: `/openapi.json`, and the page at `/docs` that shows it."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.requests import HTTPConnection

from millstream.events import encode
from millstream.server.problems import ProblemRoute


def router(api: FastAPI, ask: Callable[[HTTPConnection], Awaitable[None]]) -> APIRouter:
    """Both, after `ask`. A browser opens `/docs?token=KEY`, which hands the key on."""
    routes = APIRouter(route_class=ProblemRoute, dependencies=[Depends(ask)])

    @routes.get("/openapi.json", include_in_schema=False)
    async def described() -> Response:
        return Response(encode(api.openapi()), media_type="application/json")

    @routes.get("/docs", include_in_schema=False)
    async def shown(request: Request) -> Response:
        token = request.query_params.get("token")
        query = f"?{urlencode({'token': token})}" if token else ""
        place = f"{request.scope.get('root_path', '')}/openapi.json{query}"
        return get_swagger_ui_html(openapi_url=place, title=f"{api.title} - docs")

    return routes
