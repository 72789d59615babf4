"""Who asks, over real sockets: keys in every place that a client can put them, and runs that nobody
else's key finds."""

import asyncio
import json
from typing import Annotated

import pytest
import websockets
from fastapi import APIRouter, Depends, Request
from serving import NDJSON, SSE, disk, quick, serving

from millstream import (
    ApiKeys,
    Credentials,
    Millstream,
    Options,
    Principal,
    Settings,
    System,
    Unauthenticated,
)
from millstream.errors import Conflict, NotFound, SettingsError
from millstream.server import keys
from millstream.server.auth import ANONYMOUS, Guard, caller
from millstream.stores.memory import MemoryStore

ANN, BOB = "ann-key-0123456789", "bob-key-0123456789"
HERS, HIS = {"X-API-Key": ANN}, {"Authorization": f"Bearer {BOB}"}


def keyed(tmp_path, **more):
    more = {"api_keys": (f"ann:{ANN}", f"bob:{BOB}"), "keys_file": tmp_path / "keys.json", **more}
    return serving(tmp_path, **more)


async def statuses(http, paths, **more):
    return {path: (await http.get(path, **more)).status_code for path in paths}


OPEN = ("/healthz", "/readyz", "/health", "/assets/page.js")
ASKED = ("/pipelines", "/pipelines/talk", "/runs", "/runs/x", "/runs/x/events", "/metrics")
ASKED += ("/status", "/openapi.json", "/docs")


async def test_every_route_but_probes_and_the_page_asks_for_a_key(tmp_path):
    async with keyed(tmp_path) as served:
        assert set((await statuses(served.http, OPEN)).values()) == {200}
        page = await served.http.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert set((await statuses(served.http, ASKED)).values()) == {401}
        for method, path in (("POST", "/pipelines/talk/runs"), ("DELETE", "/runs/x")):
            refused = await served.http.request(method, path, json={"text": "a"})
            assert refused.status_code == 401
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["www-authenticate"] == 'Bearer realm="millstream"'
            assert refused.json()["code"] == "unauthenticated"
        assert list(await served.app.engine.store.runs()) == []


async def test_a_wrong_key_is_told_apart_from_none(tmp_path):
    async with keyed(tmp_path) as served:
        for headers in ({"X-API-Key": "no"}, {"Authorization": "Bearer no"}):
            refused = await served.http.get("/runs", headers=headers)
            assert refused.status_code == 401
            assert 'error="invalid_token"' in refused.headers["www-authenticate"]
            assert "no" not in refused.json()["detail"].split()


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"X-API-Key": ANN}},
        {"headers": {"Authorization": f"Bearer {ANN}"}},
        {"headers": {"authorization": f"bearer  {ANN}"}},
        {"params": {"token": ANN}},
    ],
)
async def test_a_key_may_stand_where_a_client_can_put_it(given, tmp_path):
    async with keyed(tmp_path) as served:
        assert set((await statuses(served.http, ("/runs", "/status"), **given)).values()) == {200}
        described = await served.http.get("/openapi.json", **given)
        assert "/runs/{run}" in described.json()["paths"]


async def test_a_token_in_the_address_changes_nothing(tmp_path):
    """A link that somebody is made to open starts and cancels no run."""
    async with keyed(tmp_path) as served:
        started = await served.http.post(f"/pipelines/count/runs?token={ANN}", json={"n": 1})
        assert started.status_code == 401


async def begin(served, headers, pipeline="count", **body):
    answer = await served.http.post(
        f"/pipelines/{pipeline}/runs",
        json=body or {"n": 2},
        headers={**headers, "Prefer": "respond-async"},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def test_a_run_is_its_owners_alone(tmp_path):
    async with keyed(tmp_path) as served:
        run = await begin(served, HERS)
        for path, accept in (
            (f"/runs/{run}", {}),
            (f"/runs/{run}", SSE),
            (f"/runs/{run}/events", SSE),
            (f"/runs/{run}/events", NDJSON),
            (f"/runs/{run}/events", {"Accept": "application/json"}),
        ):
            assert (await served.http.get(path, headers={**HERS, **accept})).status_code == 200
            refused = await served.http.get(path, headers={**HIS, **accept})
            unknown = await served.http.get(path.replace(run, "r0"), headers={**HIS, **accept})
            assert refused.status_code == unknown.status_code == 404
            told = refused.json()["detail"].replace(run, "r0")
            assert told == unknown.json()["detail"]  # which says nothing of whether it is there
        cancelled = await served.http.delete(f"/runs/{run}", headers=HIS)
        assert cancelled.status_code == 404
        lists = [(await served.http.get("/runs", headers=h)).json()["runs"] for h in (HERS, HIS)]
        assert [[each["id"] for each in found] for found in lists] == [[run], []]


async def test_an_idempotency_key_finds_no_run_of_somebody_else(tmp_path):
    async with keyed(tmp_path) as served:
        again = {"Idempotency-Key": "first"}
        runs = [await begin(served, {**who, **again}) for who in (HERS, HIS, HERS)]
        assert runs[0] == runs[2] != runs[1]


async def test_sockets_ask_too(tmp_path):
    async with keyed(tmp_path) as served:
        run = await begin(served, HERS)
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with served.socket():
                pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["code"] == "unauthenticated"
        place = f"ws://127.0.0.1:{served.port}/socket"
        for opening in (
            websockets.connect(place, additional_headers=HERS),
            websockets.connect(f"{place}?token={ANN}"),
        ):
            async with opening as socket:
                await socket.send(json.dumps({"type": "subscribe", "run": run}))
                assert json.loads(await socket.recv())["type"] == "subscribed"
                assert json.loads(await socket.recv())["seq"] == 1
        async with served.socket(additional_headers=HIS) as socket:
            for request in ("subscribe", "cancel"):
                await socket.send(json.dumps({"type": request, "run": run}))
                assert json.loads(await socket.recv())["code"] == "not_found"
            await socket.send(json.dumps({"type": "start", "pipeline": "count", "input": {"n": 1}}))
            started = json.loads(await socket.recv())
        document = await served.http.get(f"/runs/{started['run']}", headers=HIS)
        assert document.status_code == 200
        hidden = await served.http.get(f"/runs/{started['run']}", headers=HERS)
        assert hidden.status_code == 404


async def test_without_keys_everybody_sees_everything(tmp_path):
    async with serving(tmp_path, keys_file=tmp_path / "none.json") as served:
        run = await begin(served, HERS)
        assert (await served.http.get(f"/runs/{run}")).status_code == 200
        assert len((await served.http.get("/runs")).json()["runs"]) == 1


async def test_keys_come_and_go_while_the_server_runs(tmp_path, monkeypatch):
    file = tmp_path / "keys.json"
    monkeypatch.setattr(keys, "LOOK_AGAIN", 0.0)  # seconds
    first = keys.add(file, "first", owner=None, now=1.0)
    async with serving(tmp_path, keys_file=file) as served:
        known = {"X-API-Key": first}
        assert (await served.http.get("/runs")).status_code == 401
        assert (await served.http.get("/runs", headers=known)).status_code == 200
        second = keys.add(file, "second", owner="first", now=2.0)
        run = await begin(served, known)
        keys.remove(file, "first")
        assert (await served.http.get("/runs", headers=known)).status_code == 401
        found = await served.http.get(f"/runs/{run}", headers={"X-API-Key": second})
        assert found.status_code == 200  # the owner is the same


async def test_a_removed_key_does_nothing_more_on_an_open_socket(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "LOOK_AGAIN", 0.0)
    file = tmp_path / "keys.json"
    first = keys.add(file, "first", owner=None, now=1.0)
    keys.add(file, "second", owner=None, now=1.0)
    async with serving(tmp_path, keys_file=file) as served:
        async with served.socket(additional_headers={"X-API-Key": first}) as socket:
            keys.remove(file, "first")
            await socket.send(json.dumps({"type": "start", "pipeline": "count", "input": {"n": 1}}))
            assert json.loads(await socket.recv())["code"] == "unauthenticated"
        assert list(await served.app.engine.store.runs()) == []


# --- systems' own routes --------------------------------------------------------------------------


def shouting(app: Millstream) -> APIRouter:
    """A system that asks by itself, and counts."""
    router = APIRouter()
    own = ApiKeys.of(["carl:carl-key-0123456789"])
    gate = app.rate_limit("shout", "3/min")

    async def asked(request: Request) -> Principal:
        return await app.authenticate(request, also=own, required="open" not in request.url.path)

    @router.post("/shout")
    async def shout(who: Annotated[Principal, Depends(asked)]) -> dict:
        document = app.service.document_of("count", n=1)
        run = await app.service.start("count", document, Options())
        return {"owner": who.owner, "run": run.id}

    @router.get("/shout/open", dependencies=[Depends(asked), Depends(gate)])
    async def open_to_all(who: Annotated[Principal, Depends(asked)]) -> dict:
        return {"owner": who.owner}

    @router.get("/shout/unasked/{run}")
    async def forgetful(run: str) -> dict:
        return {"state": (await app.service.document(run)).state}

    @router.get("/shout/{run}", dependencies=[Depends(asked)])
    async def read(run: str) -> dict:
        return {"state": (await app.service.document(run)).state}

    return router


def with_system(tmp_path, *, authenticates, authenticator=None, **more) -> Millstream:
    system = System(
        "shout", (), routes=shouting, authenticates=authenticates, authenticator=authenticator
    )
    settings = {"store": "memory://", "drain": 0.2, "keys_file": tmp_path / "keys.json", **more}
    return Millstream(
        *quick(),
        system,
        settings=Settings(**settings),
        store=MemoryStore(),
        blobs=disk(tmp_path),
    )


async def test_a_system_may_ask_by_itself(tmp_path):
    app = with_system(tmp_path, authenticates=True, api_keys=(f"ann:{ANN}",))
    async with serving(tmp_path, app=app) as served:
        carls = {"X-API-Key": "carl-key-0123456789"}
        answers = [await served.http.post("/shout", headers=h) for h in ({}, HERS, carls)]
        assert [each.status_code for each in answers] == [401, 200, 200]
        assert [each.json()["owner"] for each in answers[1:]] == ["ann", "carl"]
        hers = answers[1].json()["run"]
        read = [await served.http.get(f"/shout/{hers}", headers=h) for h in (HERS, carls)]
        assert [each.status_code for each in read] == [200, 404]
        assert (await served.http.get("/shout/open")).json() == {"owner": None}
        assert (await served.http.get("/shout/open", headers=HERS)).json() == {"owner": "ann"}
        wrong = await served.http.get("/shout/open", headers={"X-API-Key": "no"})
        assert wrong.status_code == 401
        assert (await served.http.get("/runs", headers=carls)).status_code == 401  # not its route
        forgotten = await served.http.get(f"/shout/unasked/{hers}", headers=HERS)
        assert forgotten.status_code == 404  # a route that forgets to ask shows nobody's runs


async def test_the_keys_of_a_systems_own_configuration_guard_the_whole_server(tmp_path):
    keys = ApiKeys.of(["carl:carl-key-0123456789"])
    app = with_system(tmp_path, authenticates=True, authenticator=keys)
    assert app.asks
    async with serving(tmp_path, app=app) as served:
        carls = {"X-API-Key": "carl-key-0123456789"}
        run = (await served.http.post("/shout", headers=carls)).json()["run"]
        answers = [await served.http.get(f"/runs/{run}", headers=h) for h in ({}, carls)]
        assert [each.status_code for each in answers] == [401, 200]


async def test_a_system_that_does_not_ask_is_guarded(tmp_path):
    app = with_system(tmp_path, authenticates=False, api_keys=(f"ann:{ANN}",))
    async with serving(tmp_path, app=app) as served:
        assert (await served.http.get("/shout/open")).status_code == 401
        assert (await served.http.get("/shout/open", headers=HERS)).status_code == 200


async def test_a_systems_rate_counts_each_asker_apart(tmp_path):
    app = with_system(tmp_path, authenticates=True, api_keys=(f"ann:{ANN}", f"bob:{BOB}"))
    async with serving(tmp_path, app=app) as served:
        for who in (HERS, HIS, {}):
            answers = [await served.http.get("/shout/open", headers=who) for _ in range(4)]
            assert [each.status_code for each in answers] == [200, 200, 200, 429]
            refused = answers[-1]
            assert refused.json()["code"] == "rate_limited"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert '"shout";q=3;w=60' in refused.headers["ratelimit-policy"]


# --- keys and credentials, by themselves ----------------------------------------------------------


def test_a_key_is_kept_as_a_hash_alone(tmp_path):
    file = tmp_path / "new" / "keys.json"
    made = [keys.add(file, name, owner="team", now=1.0) for name in ("a", "b")]
    assert len(set(made)) == 2
    assert all(len(key) == 46 and key.startswith("ms_") for key in made)
    text = file.read_text()
    assert not any(key in text or key[3:] in text for key in made)
    assert file.stat().st_mode & 0o077 == 0
    assert [(key.name, key.owner) for key in keys.read(file)] == [("a", "team"), ("b", "team")]
    known = ApiKeys(keys.read(file))
    assert [known.principal(key) for key in made] == [Principal("team", n) for n in "ab"]
    assert known.principal(made[0][:-1]) is None
    assert made[0] not in repr(known)


def test_what_is_wrong_with_a_key_file_is_said(tmp_path):
    file = tmp_path / "keys.json"
    keys.add(file, "a", owner=None, now=1.0)
    with pytest.raises(Conflict, match="'a' already"):
        keys.add(file, "a", owner=None, now=1.0)
    with pytest.raises(NotFound, match="no key named 'b'"):
        keys.remove(file, "b")
    with pytest.raises(SettingsError, match="needs a name"):
        keys.add(file, " ", owner=None, now=1.0)
    file.write_text("{")
    with pytest.raises(SettingsError, match=r"keys\.json does not hold keys"):
        keys.read(file)
    with pytest.raises(SettingsError, match="entry 2 has no key"):
        ApiKeys.of(["fine-key", "owner:"])


def test_a_key_without_an_owner_is_its_own():
    one, two = (ApiKeys.of([key]).principal(key) for key in ("first-key", "other-key"))
    assert one is not None
    assert two is not None
    assert one.owner != two.owner
    assert ApiKeys.of(["first-key"]).principal("first-key") == one


def test_a_key_is_looked_for_once_a_second(tmp_path):
    moment, file = 100.0, tmp_path / "keys.json"
    known = keys.KeyFile(file, now=lambda: moment)
    assert not known.configured
    keys.add(file, "a", owner=None, now=1.0)
    moment = 100.9
    assert not known.configured
    moment = 101.0
    assert known.configured


def test_credentials_never_show_themselves():
    assert "secret" not in repr(Credentials(api_key="secret", bearer="secret"))


async def test_a_key_lasts_for_its_request():
    """Two requests at once, in tasks of their own, each have their caller."""
    guard = Guard([ApiKeys.of([f"ann:{ANN}", f"bob:{BOB}"])])

    async def request(headers):
        scope = {
            "type": "http",
            "method": "GET",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        await guard.authenticate(Request(scope))
        await asyncio.sleep(0)
        return caller.get()

    found = await asyncio.gather(*(asyncio.create_task(request(h)) for h in (HERS, HIS)))
    assert [each and each.owner for each in found] == ["ann", "bob"]
    assert caller.get() is None
    with pytest.raises(Unauthenticated):
        await request({})
    nobody = Request({"type": "http", "headers": [], "query_string": b""})
    assert await Guard([]).authenticate(nobody, required=False) == ANONYMOUS
