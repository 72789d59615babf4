"""Millstream: the ASGI application. Pipelines in, a service out.

Brings engine, routes and settings together, and keeps their life: opened with the server's
lifespan, or at the first request where this is mounted into somebody else's application.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.requests import HTTPConnection
from fastapi.responses import FileResponse

from millstream import wiring
from millstream.blobs import BlobStore
from millstream.engine.engine import Engine
from millstream.errors import MillstreamError, PipelineError, Unavailable
from millstream.events import encode, iso
from millstream.observe.debugger.debuggers import Debuggers
from millstream.observe.lag import LagMeter
from millstream.observe.metrics import Metrics
from millstream.pipeline import Pipeline, built
from millstream.policy import Rate
from millstream.server import direct, docs, page, problems, runs, sockets, status
from millstream.server.accept import accepted, negotiate
from millstream.server.admission import Admission
from millstream.server.auth import Authenticator, Guard, Principal
from millstream.server.connection import Receive, Scope, Send
from millstream.server.delivery import Streams
from millstream.server.head import Head
from millstream.server.limiting import Places, RateGate
from millstream.server.problems import ProblemRoute, guarded
from millstream.server.service import Service, mounted_at
from millstream.server.shortcuts import Shortcuts
from millstream.server.uploads import Limits
from millstream.settings import Settings
from millstream.store import Store
from millstream.system import System
from millstream.version import __version__

ABOUT = """\
Pipelines whose every partial result is delivered, and none lost.

A run is followed on the same URLs as SSE (`text/event-stream`), NDJSON (`application/x-ndjson`)
or one JSON document, by `Accept`; each resumes behind a cursor (`Last-Event-ID`,
`?last_event_id=`, `?after=`).
`WS /socket` follows many runs at once: send `{"type": "subscribe", "run": "…", "after": 0}`, or
`unsubscribe`, `start` (`pipeline`, `input`), `cancel`, `ping`; a `ref` comes back in the answer.
Errors are problem documents (RFC 9457) with a stable `code`."""


class Millstream:
    """An ASGI application over pipelines and systems.

    >>> app = Millstream(crawl)                      # serve it: uvicorn, `millstream serve`
    >>> theirs.mount("/streams", app)                # or mount it
    >>> theirs.include_router(app.router)            # or include its routes

    `settings` default to environment and file. `store` and `blobs` replace those that the
    settings name. `prefix` is where the routes are mounted, for `Location` headers.
    """

    def __init__(
        self,
        *parts: Pipeline | System,
        settings: Settings | None = None,
        store: Store | None = None,
        blobs: BlobStore | None = None,
        prefix: str = "",
    ) -> None:
        self.prefix = prefix
        self.systems = tuple(part for part in parts if isinstance(part, System))
        self.defaults = self.systems[0].settings if len(parts) == len(self.systems) == 1 else {}
        self.settings = settings or Settings.load(self.defaults)
        if not parts:
            raise PipelineError("Millstream(...) needs a pipeline: Millstream(my_pipeline)")
        self._pipelines = [p for part in parts for p in _pipelines(part)]
        self.graphs = built(self._pipelines)
        self._store, self._blobs = store, blobs
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        self.started_at: float | None = None
        self.lag = LagMeter()

    # --- parts ------------------------------------------------------------------------------

    @cached_property
    def metrics(self) -> Metrics:
        """This application's own registry."""
        return Metrics(lambda: status.gauges(self.service, self._sockets, self.lag))

    @cached_property
    def engine(self) -> Engine:
        """What runs the pipelines."""
        return Engine(
            self.graphs,
            self._store or wiring.make_store(self.settings),
            self._blobs or wiring.make_blobs(self.settings),
            now=time.time,
            chance=random.random,
            new_id=wiring.new_id,
            options=wiring.engine_options(self.settings),
            observer=self.metrics,
        )

    @cached_property
    def debuggers(self) -> Debuggers:
        """Those of the live runs that are at work here."""
        return Debuggers(self.engine)

    @cached_property
    def streams(self) -> Streams:
        """The open streams."""
        settings = self.settings
        return Streams(heartbeat=settings.heartbeat, stall_timeout=settings.stall_timeout)

    @cached_property
    def service(self) -> Service:
        """Requests to runs, runs to responses: for a system's own routes."""
        settings = self.settings
        return Service(
            self.engine,
            self.streams,
            limits=Limits(
                body_bytes=settings.body_bytes,
                file_bytes=settings.file_bytes,
                files=settings.files,
            ),
            json_bytes=settings.json_bytes,
            prefix=self.prefix,
            places=self._admission.places,
        )

    @cached_property
    def _admission(self) -> Admission:
        theirs = [s.authenticator for s in self.systems if s.authenticator is not None]
        guard = Guard([*wiring.authenticators(self.settings), *theirs])
        return Admission(guard, self.settings, now=time.time)

    @cached_property
    def _sockets(self) -> sockets.Sockets:
        return sockets.Sockets(self.service, self.settings.origins, self._enter)

    @cached_property
    def _direct(self) -> direct.Direct:
        return direct.Direct(self.service, self._enter)

    @cached_property
    def _shortcuts(self) -> Shortcuts:
        return Shortcuts()

    @cached_property
    def router(self) -> APIRouter:
        """All routes, to be included in an application of your own. Its lifespan comes along; where
        that is not run, the first request opens what is needed, and nothing is drained."""
        routes = APIRouter(lifespan=self.lifespan)
        opened = [Depends(self._enter)]
        routes.include_router(runs.router(self.service), dependencies=opened)
        routes.include_router(sockets.router(self._sockets))
        routes.include_router(
            status.router(
                self.service,
                self._sockets,
                self.metrics,
                self.lag,
                version=__version__,
                not_ready=self._asked_whether_ready,
                ask=self._admission.ask,
            )
        )
        for system in self.systems:
            if system.routes is not None:
                enter = self._come_unknown if system.authenticates else self._enter
                theirs = system.routes(self)
                self._shortcuts.add(theirs.routes, enter)
                routes.include_router(theirs, dependencies=[Depends(enter)])
        routes.include_router(self._shared_routes())
        return routes

    @cached_property
    def api(self) -> FastAPI:
        """The FastAPI application that serves `router`; its OpenAPI is at /openapi.json."""
        api = FastAPI(
            title="Millstream",
            version=__version__,
            description=ABOUT,
            openapi_url=None,  # its own routes would ask nobody for a key
        )
        api.include_router(self.router)
        api.include_router(docs.router(api, self._admission.ask))
        problems.install(api)
        return api

    def _shared_routes(self) -> APIRouter:
        """Paths that belong to all systems together: their fields, united."""
        routes = APIRouter(route_class=ProblemRoute)

        @routes.get("/health", tags=["operations"], summary="Health, with every system's fields")
        async def health() -> Response:
            told: dict[str, Any] = {
                "status": "healthy" if self._not_ready() is None else "degraded",
                "service": "millstream",
                "version": __version__,
                "timestamp": iso(time.time()),
            }
            for system in self.systems:
                told |= dict(system.health(self)) if system.health else {}
            return Response(encode(told), media_type="application/json")

        @routes.get("/", include_in_schema=False)
        async def root(request: Request) -> Response:
            form = negotiate(accepted(request), "json", ("json", "html"))
            if form == "html":
                return page.index()
            told: dict[str, Any] = {"service": "millstream", "version": __version__}
            for system in self.systems:
                told |= dict(system.root(self)) if system.root else {}
            told |= {"pipelines": list(self.graphs), "docs": f"{self.prefix}/docs"}
            return Response(encode(told), media_type="application/json")

        @routes.get("/assets/{name}", include_in_schema=False)
        async def asset(name: str) -> FileResponse:
            return page.asset(name, self._assets())

        return routes

    def _assets(self) -> Mapping[str, Any]:
        return {name: path for system in self.systems for name, path in system.assets.items()}

    # --- for systems' own routes ------------------------------------------------------------

    @property
    def asks(self) -> bool:
        """Whether keys are configured, so that every client must say who it is."""
        return self._admission.guard.configured

    async def authenticate(
        self,
        connection: HTTPConnection,
        *,
        also: Authenticator | None = None,
        required: bool = True,
    ) -> Principal:
        """Who sends this request (or opens this WebSocket), by the server's keys or those of
        `also`. From here on they are its caller: `service` shows them their own runs alone.

        Raises Unauthenticated for a key that nobody knows, and, where `required`, for none;
        RateLimited where they ask too much.
        """
        return await self._admission.authenticate(connection, also, required=required)

    def rate_limit(self, name: str, rate: Rate | str) -> RateGate:
        """A rate of its own for a group of routes: await it with each request, or make it their
        dependency. Raises RateLimited then."""
        return self._admission.rate(name, rate)

    def stream_limit(self, name: str, most: int, each: int | None = None) -> Places:
        """Places for at most so many open streams, in all and for each client."""
        return Places(name, most, each)

    # --- life -------------------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """Open, then close: for a server, or for an application that includes `router`."""
        await self.open()
        try:
            yield
        finally:
            await self.aclose()

    async def open(self) -> None:
        """Open stores, warm pools, take up unfinished runs. Only the first call does it; one that
        failed is tried again by the next."""
        await asyncio.shield(self._begin_opening())
        if self.started_at is None:
            self.started_at = time.time()
            self.lag.start()
            self.metrics.watch(self.debuggers)
            self.debuggers.start()

    def _begin_opening(self) -> "asyncio.Task[None]":
        if self._closed:
            raise Unavailable("this application was closed; make a new one to serve again")
        if self._opening is None or _failed(self._opening):
            self._opening = asyncio.create_task(self.engine.open())
            self._opening.add_done_callback(_failed)  # which also hears of it, if nobody waits
        return self._opening

    async def _enter(self, connection: HTTPConnection) -> None:
        """Before every request that needs the engine: who asks, and not too much."""
        await self._admission.admit(connection)
        await self._come_in(connection)

    async def _come_unknown(self, connection: HTTPConnection) -> None:
        """Before a system's routes that ask by themselves: until they do, it is nobody."""
        self._admission.unknown()
        await self._come_in(connection)

    async def _come_in(self, connection: HTTPConnection) -> None:
        """Open what is needed; note where this is mounted."""
        if not self._ready:
            await self.open()
        mounted_at.set(connection.scope.get("root_path", ""))

    async def drain(self) -> None:
        """Shutting down: open streams end (clients come back with their cursors), runs finish or
        are handed back."""
        await self.engine_drained()
        self.streams.drain()
        await self._sockets.drain()

    async def engine_drained(self) -> None:
        """Let runs finish for a while, and hand the rest back."""
        if self._opening is not None:
            await self.engine.drain()

    async def aclose(self) -> None:
        """Drain and let go of everything. Safe to call twice."""
        if self._closed or self._opening is None:
            return
        self._closed = True
        self.lag.stop()
        await self.debuggers.stop()
        self.streams.drain()
        await self.engine.aclose()
        for system in self.systems:
            if system.close is not None:
                await system.close()

    def _not_ready(self) -> str | None:
        if not self._ready:
            return "starting"
        return "shutting down" if self.engine.worker.draining else None

    async def _asked_whether_ready(self) -> str | None:
        """Why not, or None. Where no lifespan is run, this is what opens: else whoever sends
        requests only to what is ready would wait for ever."""
        if not self._ready and not self._closed:
            with suppress(TimeoutError, MillstreamError):
                async with asyncio.timeout(1.0):
                    await self.open()
        return self._not_ready()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            plain = not self.api.user_middleware
            if plain and (handle := self._direct.find(scope) or self._shortcuts.find(scope)):
                response = await guarded(handle, Request(scope, receive))
                del handle  # what this holds on to, every open stream holds
                await response(scope, receive, send)  # type: ignore[arg-type]
                return
            if scope["method"] == "HEAD":
                head = Head(scope, receive, send)
                scope, receive, send = head.scope, head.receive, head.send
        elif direct.is_socket(scope) and not self.api.user_middleware:
            socket = WebSocket(scope, receive, send)  # type: ignore[arg-type]
            await self._sockets.serve(socket, send)
            return
        await self.api(scope, receive, send)  # type: ignore[arg-type]

    @property
    def _ready(self) -> bool:
        opening = self._opening
        return opening is not None and opening.done() and not _failed(opening)

    def __repr__(self) -> str:
        return f"<Millstream {', '.join(self.graphs)}>"


def _pipelines(part: Pipeline | System) -> tuple[Pipeline, ...]:
    if isinstance(part, System):
        return part.pipelines
    if isinstance(part, Pipeline):
        return (part,)
    raise PipelineError(f"Millstream(...) takes pipelines and systems, not {part!r}")


def _failed(task: "asyncio.Task[None]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
