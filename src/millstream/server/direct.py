"""Direct: the requests that streams begin with, past the framework's layers.

`POST /pipelines/{name}/runs`, `GET /runs/{run}/events` and `WS /socket` are served by the same
functions as the routes of these paths (`runs.py`, `sockets.py`), which stay there for OpenAPI and
for whoever includes the router. What is spared is a third of the time of a short run; and the
server's own `send` arrives, so that a stream may be written to past it. Middleware that somebody
added sees every request: then this is off.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.requests import HTTPConnection

from millstream.server import runs
from millstream.server.connection import Scope
from millstream.server.service import Service

Handle = Callable[[Request], Coroutine[Any, Any, Response]]

_EVENTS = re.compile(r"/runs/([^/]+)/events")


class Direct:
    """`enter` is awaited before each request, as before the framework's routes."""

    def __init__(
        self, service: Service, enter: Callable[[HTTPConnection], Awaitable[object]]
    ) -> None:
        self._service, self._enter = service, enter
        self._starts: dict[str, Handle] = {
            f"/pipelines/{name}/runs": self._entered(partial(runs.start, service, name))
            for name in service.engine.graphs
        }

    def _entered(self, handle: Handle) -> Handle:
        async def entered(request: Request) -> Response:
            await self._enter(request)
            return await handle(request)

        return entered

    def find(self, scope: Scope) -> Handle | None:
        """What serves this request, if it is one of the two."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["method"] == "POST":
            return self._starts.get(path)
        if scope["method"] == "GET" and (found := _EVENTS.fullmatch(path)):
            return self._entered(partial(runs.follow, self._service, found[1]))
        return None


def is_socket(scope: Scope) -> bool:
    """Whether this opens the native WebSocket."""
    if scope["type"] != "websocket":
        return False
    return scope["path"].removeprefix(scope.get("root_path", "")) == "/socket"
