"""Shortcuts: systems' own routes past the framework's layers, where they say that this will do.

A route with a method `direct` (see `Shortcut`) takes the request alone and makes its own errors:
matching it against every other route, and solving dependencies that it has none of, would be most
of what a short request costs. The routes stay in the framework for OpenAPI, and for whoever
includes the router. Knows no system.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol, runtime_checkable

from fastapi import Request, Response
from fastapi.requests import HTTPConnection

from millstream.server.connection import Scope

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


@runtime_checkable
class Shortcut(Protocol):
    """A route that can be served directly: its path has no parameters. `direct` gives the response
    to a request, or raises a MillstreamError, which becomes a problem document."""

    path: str
    methods: set[str]

    async def direct(self, request: Request) -> Response:
        """Serve one request."""
        ...


class Shortcuts:
    """Shortcuts by method and path."""

    def __init__(self) -> None:
        self._handles: dict[tuple[str, str], Handle] = {}

    def add(
        self, routes: Iterable[object], enter: Callable[[HTTPConnection], Awaitable[object]]
    ) -> None:
        """Those among some routes. `enter` is awaited before each request."""
        for route in routes:
            if isinstance(route, Shortcut) and "{" not in route.path:
                handle = _entered(route, enter)
                for method in route.methods:
                    self._handles.setdefault((method, route.path), handle)

    def find(self, scope: Scope) -> Handle | None:
        """What serves this request, if there is a shortcut for it."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._handles.get((scope["method"], path))


def _entered(route: Shortcut, enter: Callable[[HTTPConnection], Awaitable[object]]) -> Handle:
    async def entered(request: Request) -> Response:
        await enter(request)
        return await route.direct(request)

    return entered
