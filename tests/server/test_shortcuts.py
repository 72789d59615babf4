"""Systems' routes past the framework's layers: nobody can tell, but by the time it takes."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from tests.server.serving import disk, quick, serving

from millstream import InputError, Millstream, Settings, System


class Marked(APIRoute):
    """A route that says by which way it was reached."""

    async def direct(self, request: Request) -> Response:
        response = await self.endpoint(request)
        response.headers["x-way"] = "direct"
        return response


def routes(app: Millstream) -> APIRouter:
    router = APIRouter(route_class=Marked)

    @router.post("/loud")
    async def loud(request: Request) -> Response:
        body = await request.body()
        if not body:
            raise InputError("say something", errors=[{"field": "body", "message": "empty"}])
        return JSONResponse({"said": body.decode().upper(), "at": app.service.location("r")})

    @router.get("/loud/{name}")
    async def named(name: str) -> Response:
        return JSONResponse({"said": name})

    return router


def app(tmp_path, **more) -> Millstream:
    settings = Settings(store="memory://", keys_file=tmp_path / "keys.json", drain=0.2, **more)
    system = System("loud", (), routes=routes)
    return Millstream(*quick(), system, settings=settings, blobs=disk(tmp_path))


async def test_a_shortcut_answers_as_its_route_does(tmp_path):
    told = []
    for middleware in (False, True):
        served_app = app(tmp_path)
        if middleware:  # which wants to see every request
            served_app.api.add_middleware(lambda inner: inner)  # type: ignore[arg-type]
        async with serving(tmp_path, app=served_app) as served:
            answers = [
                await served.http.post("/loud", content=b"hello"),
                await served.http.post("/loud"),
                await served.http.get("/loud"),
                await served.http.get("/loud/me"),
            ]
        assert [each.status_code for each in answers] == [200, 422, 405, 200]
        assert answers[0].headers.get("x-way") == (None if middleware else "direct")
        told.append([(each.text, each.headers.get("content-type")) for each in answers])
    assert told[0] == told[1]


async def test_a_shortcut_asks_for_a_key_as_its_route_does(tmp_path):
    async with serving(tmp_path, app=app(tmp_path, api_keys=("ann:ann-key-0123456789",))) as served:
        assert (await served.http.post("/loud", content=b"x")).status_code == 401
        key = {"X-API-Key": "ann-key-0123456789"}
        answer = await served.http.post("/loud", content=b"x", headers=key)
        assert (answer.status_code, answer.headers["x-way"]) == (200, "direct")
