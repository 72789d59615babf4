"""The routes of live flows, over a real socket."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest

from millstream import Millstream
from millstream.stores.memory import MemoryStore
from millstream_apps.nodeflow.settings import NodeflowSettings
from millstream_apps.nodeflow.system import Nodeflow
from tests.server.serving import PATIENCE, disk, serving, settings

FLOW = {
    "id": "plant",
    "name": "A plant",
    "nodes": [
        {"id": "s", "type": "sine", "config": {"rate": 1000, "period": 1, "amplitude": 10}},
        {"id": "double", "type": "map", "config": {"to": "value * 2"}},
        {"id": "high", "type": "filter", "config": {"keep": "value > 100"}},
        {"id": "chart", "type": "chart"},
        {"id": "log", "type": "log"},
    ],
    "edges": [
        {"source": "s", "target": "double"},
        {"source": "double", "target": "chart"},
        {"source": "double", "target": "high"},
        {"source": "high", "target": "log"},
    ],
}


def make_app(tmp_path, store):
    system = Nodeflow(NodeflowSettings()).system
    return Millstream(system, settings=settings(), store=store, blobs=disk(tmp_path))


@asynccontextmanager
async def flows(tmp_path, store=None):
    app = make_app(tmp_path, store or MemoryStore())
    async with serving(tmp_path, app=app) as served:
        yield served


@pytest.fixture
async def served(tmp_path, monkeypatch):
    # pytest hangs handlers of its own on this logger, by which uvicorn would begin an access log
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: False)
    async with flows(tmp_path) as each:
        yield each


async def whole(served, id="plant"):
    answer = await served.http.get(f"/flows/{id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def seen(served, condition):
    """The flow, as soon as a condition of it holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await whole(served)
            if found["statistics"] and condition(found["statistics"]):
                return found
            await asyncio.sleep(0.02)


async def test_a_flow_is_started_looked_at_and_ended(served):
    started = await served.http.post("/flows", json=FLOW)
    assert started.status_code == 201
    run = started.json()["run"]
    assert started.headers["location"] == f"/flows/{run}"
    assert started.json()["flow"] == FLOW
    found = await seen(served, lambda s: s["steps"]["double"]["made"] > 50)
    edge = found["statistics"]["edges"]["s:out->double:input"]
    assert edge["sent"] == edge["delivered"] + edge["dropped"] + edge["waiting"]
    connection = found["statistics"]["connections"]["s:out->double:input"]
    assert connection["totalMessages"] == edge["sent"]
    assert connection.keys() >= {"messagesPerSecond", "averageLatency", "bufferUtilization"}
    listed = (await served.http.get("/flows", params={"state": "running"})).json()["flows"]
    assert [(each["id"], each["run"]) for each in listed] == [("plant", run)]
    assert (
        await served.http.delete("/flows/plant", params={"reason": "enough"})
    ).status_code == 202
    log = await served.ended(run)
    assert log[-1]["type"] == "run.cancelled"
    assert log[-1]["data"] == {"by": "client", "reason": "enough"}
    assert (await whole(served, run))["state"] == "cancelled"
    assert (await served.http.delete(f"/flows/{run}")).status_code == 200
    assert (await served.http.get("/flows/plant")).status_code == 404  # it is not at work


async def test_widgets_are_published_while_somebody_watches(served):
    run = (await served.http.post("/flows", json=FLOW)).json()["run"]
    items, batches = [], 0
    async with served.stream(f"/runs/{run}/events?after=0") as answer:
        async for line in answer.aiter_lines():
            event = json.loads(line[6:]) if line.startswith("data: ") else {}
            if event.get("step") == "chart":
                items += event["data"]
                batches += 1
            if len(items) > 300:
                break
    assert batches > 5
    assert all(-20 <= item["value"] <= 20 for item in items)
    times = [item["timestamp"] for item in items]
    assert times == sorted(times)


async def test_a_node_is_paused_and_goes_on_while_others_run(served):
    await served.http.post("/flows", json=FLOW)
    await seen(served, lambda s: s["steps"]["double"]["made"] > 10)
    paused = await served.http.post("/flows/plant/nodes/double/pause")
    assert paused.json()["state"] == "paused"
    at = (await whole(served))["statistics"]["steps"]["double"]["made"]
    full = await seen(served, lambda s: s["edges"]["s:out->double:input"]["waiting"] > 200)
    assert full["statistics"]["steps"]["double"]["state"] == "paused"
    assert full["statistics"]["steps"]["double"]["made"] == at
    assert (await served.http.post("/flows/plant/nodes/double/resume")).status_code == 200
    await seen(served, lambda s: s["steps"]["double"]["made"] > at + 200)
    assert (await served.http.post("/flows/plant/nodes/s/stop")).json()["state"] == "stopped"
    assert (await served.http.post("/flows/plant/nodes/s/start")).json()["state"] == "running"


async def test_a_nodes_config_is_changed_and_a_restart_keeps_it(tmp_path):
    store = MemoryStore()
    async with flows(tmp_path, store) as served:
        run = (await served.http.post("/flows", json=FLOW)).json()["run"]
        await seen(served, lambda s: s["steps"]["double"]["made"] > 10)
        assert (await whole(served))["statistics"]["steps"]["log"]["made"] == 0
        answer = await served.http.put("/flows/plant/nodes/high/config", json={"keep": "value > 0"})
        assert answer.json()["config"] == {"keep": "value > 0"}
        found = await seen(served, lambda s: s["steps"]["log"]["made"] > 10)
        made = found["statistics"]["steps"]["double"]["made"]
        assert made > 10  # the others were not begun anew
    async with flows(tmp_path, store) as served:
        found = await seen(served, lambda s: s["steps"]["log"]["made"] > 10)
        assert found["run"] == run
        assert found["flow"]["nodes"][2]["config"] == {"keep": "value > 0"}
        log = await served.log(run)
        assert [event["type"] for event in log].count("run.started") == 1


async def test_a_sources_config_is_changed_while_its_readers_go_on(served):
    run = (await served.http.post("/flows", json=FLOW)).json()["run"]
    before = (await seen(served, lambda s: s["steps"]["double"]["made"] > 100))["statistics"]
    config = {"rate": 1000, "offset": 1000}
    assert (await served.http.put("/flows/plant/nodes/s/config", json=config)).status_code == 200
    after = (await seen(served, lambda s: s["steps"]["log"]["made"] > 100))["statistics"]
    assert after["steps"]["double"]["made"] > before["steps"]["double"]["made"]
    values = [float(e["data"]["message"]) for e in await served.log(run) if e.get("step") == "log"]
    assert all(1980 <= value <= 2020 for value in values)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/flows/nobody", None, 404, "no flow 'nobody'"),
        ("POST", "/flows/plant/nodes/dubble/pause", None, 404, "no node 'dubble'; it has s"),
        ("POST", "/flows/plant/nodes/double/pauze", None, 422, "pause"),
        ("PUT", "/flows/plant/nodes/double/config", {"to": "value."}, 422, "not an expression"),
        ("PUT", "/flows/plant/nodes/double/config", {"from": 1}, 422, "unknown field `from`"),
        ("PUT", "/flows/plant/nodes/double/config", [1], 422, "a JSON object"),
        ("POST", "/flows", FLOW, 409, "stop it first"),
        ("POST", "/flows", {"id": "x", "nodes": []}, 422, "at least one node"),
        ("POST", "/flows", {"id": "x"}, 422, "nodes"),
        ("GET", "/flows/nodes/sin", None, 404, "did you mean 'sine'"),
    ],
)
async def test_what_cannot_be_done_is_said(served, method, path, body, status, said):
    await served.http.post("/flows", json=FLOW)
    await seen(served, lambda s: s["steps"]["double"]["made"] > 0)
    answer = await served.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


async def test_a_config_that_changes_ports_needs_a_new_start(served):
    nodes = [
        {"id": "s", "type": "timer", "config": {"interval": 0.01}},
        {"id": "w", "type": "switch", "config": {"cases": [{"port": "a", "when": "true"}]}},
    ]
    edges = [{"source": "s", "target": "w"}]
    await served.http.post("/flows", json={"id": "plant", "nodes": nodes, "edges": edges})
    await seen(served, lambda s: s["steps"]["w"]["made"] > 0)
    config = {"cases": [{"port": "b", "when": "true"}]}
    answer = await served.http.put("/flows/plant/nodes/w/config", json=config)
    assert answer.status_code == 409
    assert "b, otherwise instead of a, otherwise" in answer.json()["detail"]


async def test_the_library_is_described_and_a_flow_checked(served):
    told = (await served.http.get("/flows/nodes")).json()["nodes"]
    assert {each["type"] for each in told} >= {
        "timer",
        "sine",
        "window",
        "join",
        "chart",
        "webhook",
    }
    assert all(each["doc"] and each["config"]["type"] == "object" for each in told)
    one = (await served.http.get("/flows/nodes/sine")).json()
    assert one["config"]["properties"]["period"]["exclusiveMinimum"] == 0
    assert (await served.http.post("/flows/check", json=FLOW)).json() == {
        "valid": True,
        "errors": [],
    }
    bad = {**FLOW, "edges": [{"source": "s", "target": "duble"}]}
    errors = (await served.http.post("/flows/check", json=bad)).json()["errors"]
    assert "did you mean 'double'" in errors[0]["message"]
    shapeless = (await served.http.post("/flows/check", json={**FLOW, "nods": []})).json()
    assert shapeless["valid"] is False
    assert "did you mean 'nodes'" in shapeless["errors"][0]["message"]


async def test_a_request_that_is_repeated_starts_one_flow(served):
    key = {"Idempotency-Key": "once"}
    first = await served.http.post("/flows", json=FLOW, headers=key)
    again = await served.http.post("/flows", json=FLOW, headers=key)
    assert (again.status_code, again.json()["run"]) == (201, first.json()["run"])
    other = await served.http.post("/flows", json=FLOW, headers={"Idempotency-Key": "twice"})
    assert other.status_code == 409
    both = await asyncio.gather(
        *(served.http.post("/flows", json={**FLOW, "id": "new"}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in both) == [201, 409, 409, 409, 409]


async def test_the_page_and_its_files_are_served(served):
    answer = await served.http.get("/flows", headers={"Accept": "text/html"})
    assert answer.status_code == 307
    page = await served.http.get("/" + answer.headers["location"])
    assert "Live flows" in page.text
    for name in ("flows.js", "flows.css", "flow-card.js", "result-flow.js"):
        assert (await served.http.get(f"/assets/{name}")).status_code == 200
