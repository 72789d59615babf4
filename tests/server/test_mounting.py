"""Inside somebody else's application: mounted, included, with and without its lifespan."""

import asyncio
import logging
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
import websockets
from fastapi import FastAPI
from serving import SSE, Gate, heard, make_app, quick, until

from millstream import Millstream, MillstreamError
from millstream.errors import StoreError
from millstream.server.protocol import listen
from millstream.stores.memory import MemoryStore


@asynccontextmanager
async def plain(outer, *, lifespan="on", quiet=True, **more):
    """Somebody's application under plain uvicorn, with none of our protocols."""
    with heard(quiet):
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(outer, lifespan=lifespan, log_config=None, **more)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        port = listener.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            try:
                yield http
            finally:
                await server.shutdown([listener])


async def works(http, prefix=""):
    """Start, follow, Location, socket."""
    answer = await http.post(f"{prefix}/pipelines/count/runs", json={"n": 2}, headers=SSE)
    location = answer.headers["location"]
    assert location.startswith(f"{prefix}/runs/")
    assert "run.completed" in answer.text
    assert (await http.get(location)).json()["result"] == [0, 1]
    url = str(http.base_url).replace("http", "ws")
    async with websockets.connect(f"{url}{prefix}/socket") as socket:
        await socket.send('{"type":"ping"}')
        assert await socket.recv() == '{"type":"pong"}'
    unknown = await http.get(f"{prefix}/runs/nope")
    assert unknown.headers["content-type"] == "application/problem+json"


def another():
    outer = FastAPI()

    @outer.get("/theirs")
    async def theirs() -> str:
        return "theirs"

    return outer


@pytest.mark.parametrize("lifespan", ["on", "off"])
async def test_mounted_under_a_path(tmp_path, lifespan):
    outer, app = another(), make_app(tmp_path)
    outer.mount("/streams", app)
    async with plain(outer, lifespan=lifespan) as http:
        await works(http, "/streams")
        assert (await http.get("/theirs")).json() == "theirs"
        document = (await http.get("/streams/openapi.json")).json()
        assert "/pipelines/count/runs" in document["paths"]
    await app.aclose()


async def test_mounted_twice_each_location_is_its_own(tmp_path):
    outer, app = another(), make_app(tmp_path)
    outer.mount("/a", app)
    outer.mount("/b", app)
    async with plain(outer) as http:
        await asyncio.gather(*(works(http, prefix) for prefix in ("/a", "/b") * 5))
    await app.aclose()


@pytest.mark.parametrize("lifespan", ["on", "off"])
async def test_router_included(tmp_path, lifespan):
    outer, app = another(), make_app(tmp_path)
    outer.include_router(app.router)
    async with plain(outer, lifespan=lifespan) as http:
        await works(http)
        assert (await http.get("/theirs")).json() == "theirs"
        paths = (await http.get("/openapi.json")).json()["paths"]
        assert {"/theirs", "/pipelines/count/runs", "/runs/{run}/events"} <= set(paths)
    await app.aclose()


async def test_router_included_under_a_prefix(tmp_path):
    outer = another()
    app = Millstream(
        *quick(),
        settings=make_app(tmp_path).settings,
        store=MemoryStore(),
        blobs=make_app(tmp_path)._blobs,
        prefix="/api",
    )
    outer.include_router(app.router, prefix="/api")
    async with plain(outer) as http:
        await works(http, "/api")


async def test_behind_a_proxy_that_takes_a_prefix_away(tmp_path):
    outer, app = another(), make_app(tmp_path)
    outer.include_router(app.router)
    async with plain(outer, root_path="/shop") as http:
        answer = await http.post("/pipelines/count/runs", json={"n": 2})
        assert answer.headers["location"].startswith("/shop/runs/")


async def test_the_outer_applications_own_lifespan_goes_on(tmp_path):
    life = []

    @asynccontextmanager
    async def theirs(_):
        life.append("theirs open")
        yield
        life.append("theirs closed")

    outer, app = FastAPI(lifespan=theirs), make_app(tmp_path)
    outer.include_router(app.router)
    async with plain(outer) as http:
        assert app._ready
        await works(http)
    assert life == ["theirs open", "theirs closed"]
    assert app._closed


async def test_the_lifespan_may_be_passed_as_well(tmp_path):
    app = make_app(tmp_path)
    outer = FastAPI(lifespan=app.lifespan)
    outer.include_router(app.router)
    async with plain(outer) as http:
        await works(http)


async def test_readyz_opens_what_no_lifespan_has_opened(tmp_path):
    outer, app = another(), make_app(tmp_path)
    outer.mount("/streams", app)
    async with plain(outer, lifespan="off") as http:
        assert (await http.get("/streams/healthz")).status_code == 200
        assert not app._ready, "being alive takes nothing"
        assert (await http.get("/streams/readyz")).status_code == 200
    await app.aclose()


class LateStore(MemoryStore):
    """Cannot be opened the first few times."""

    refusals = 3

    async def open(self):
        if self.refusals:
            self.refusals -= 1
            raise StoreError("not there yet")
        await super().open()


async def test_opening_that_failed_is_tried_again(tmp_path):
    store = LateStore()
    outer, app = another(), make_app(tmp_path, store=store)
    outer.mount("/streams", app)
    async with plain(outer, lifespan="off") as http:
        answer = await http.get("/streams/runs")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert (await http.get("/streams/readyz")).json()["reason"] == "starting"
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"{http.base_url}/streams/socket".replace("http", "ws"))
        await works(http, "/streams")
    await app.aclose()


async def test_a_closed_application_says_so(tmp_path):
    app = make_app(tmp_path)
    async with app.lifespan():
        pass
    with pytest.raises(MillstreamError, match="make a new one"):
        await app.open()
    await app.aclose()


async def test_plain_uvicorn_ends_streams_after_its_own_grace(tmp_path):
    app = make_app(tmp_path, Gate())
    logging.getLogger("uvicorn.error").addFilter(lambda record: "Cancel" not in record.msg)
    async with plain(app, timeout_graceful_shutdown=1, quiet=False) as http:
        stream = http.stream("POST", "/pipelines/talk/runs", json={"text": "held"}, headers=SSE)
        answer = await stream.__aenter__()
        lines = answer.aiter_lines()
        assert await anext(lines)
    await until(lambda: len(app.streams) == 0)
    assert app.engine.tails.watchers == 0
    assert app._closed
    await stream.__aexit__(None, None, None)
