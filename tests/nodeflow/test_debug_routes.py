"""The debugger over a real socket."""

import asyncio
import json

import pytest

from tests.nodeflow.test_flow_routes import flows, seen
from tests.server.serving import PATIENCE

FLOW = {
    "id": "plant",
    "nodes": [
        {"id": "s", "type": "sine", "config": {"rate": 200, "period": 1, "amplitude": 10}},
        {"id": "d", "type": "debounce", "config": {"seconds": 1000}},
        {"id": "log", "type": "log"},
    ],
    "edges": [
        {"source": "s", "target": "d", "config": {"bufferSize": 20}},
        {"source": "d", "target": "log"},
    ],
}
EDGE = "s:out->d:input"
DEBUG = "/flows/plant/debug"


@pytest.fixture
async def served(tmp_path):
    async with flows(tmp_path) as each:
        started = await each.http.post("/flows", json=FLOW)
        assert started.status_code == 201, started.text
        await seen(each, lambda statistics: statistics["steps"]["s"]["made"] > 0)
        yield each


async def entries(served, wanted, *, accept="application/x-ndjson", **query):
    """The stream's entries, until one is wanted."""
    found = []
    headers = {"accept": accept}
    async with asyncio.timeout(PATIENCE):
        async with served.http.stream(
            "GET", "/flows/plant/debug", headers=headers, params=query
        ) as s:
            assert s.status_code == 200
            async for line in s.aiter_lines():
                if accept == "text/event-stream":
                    found.append(line)
                    if wanted(line):
                        return found
                elif line:
                    found.append(json.loads(line))
                    if wanted(found[-1]):
                        return found
    raise AssertionError("it ended before")


async def test_snapshots_come_as_a_stream_in_the_known_shape(served):
    *_, last = await entries(served, lambda e: e["type"] == "debug.snapshot" and e["seq"] > 1)
    assert set(last["data"]) == {"timestamp", "connections", "systemMetrics"}
    edge = next(each for each in last["data"]["connections"] if each["id"] == EDGE)
    assert {
        "messagesPerSecond",
        "averageLatency",
        "bufferUtilization",
        "backpressureEvents",
        "errorRate",
        "lastUpdated",
    } <= set(edge["metrics"])
    assert edge["isActive"]
    assert edge["metrics"]["messagesPerSecond"] > 0


async def test_as_server_sent_events_with_ids(served):
    lines = await entries(served, lambda line: line.startswith("id:"), accept="text/event-stream")
    assert lines[0] == "event: debug.snapshot"
    assert lines[1].startswith('data: {"run":')


async def test_a_paused_node_presses_its_connection_and_the_alert_fires_and_clears(served):
    await served.http.post("/flows/plant/nodes/d/pause")
    found = await entries(served, lambda e: e["type"] == "debug.alert")
    alert = found[-1]["data"]
    assert (alert["type"], alert["connectionId"]) == ("backpressure", EDGE)
    assert alert["severity"] in ("warning", "critical")
    metrics = (await served.http.get("/metrics")).text
    assert f'connection="{EDGE}"' in metrics
    assert 'millstream_live_alerts_fired_total{severity="critical",type="backpressure"}' in metrics
    assert "millstream_live_alerts{" in metrics
    await served.http.post("/flows/plant/nodes/d/resume")
    cleared = await entries(served, lambda e: e["type"] == "debug.cleared")
    assert cleared[-1]["data"]["cleared"] > alert["timestamp"]
    report = (
        await served.http.get("/flows/plant/debug", headers={"accept": "application/json"})
    ).json()
    assert set(report) >= {"overview", "recentAlerts", "topConnections"}
    assert {a["type"] for a in report["recentAlerts"]} >= {"backpressure"}


async def test_a_readers_own_filter(served):
    found = await entries(
        served,
        lambda e: e["type"] == "debug.event" and e["data"]["type"] == "message",
        filter="value > 0",
    )
    assert found[-1]["data"]["data"]["value"] > 0
    wrong = await served.http.get("/flows/plant/debug", params={"filter": "import os"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "filter"


async def test_recording_export_and_forgetting(served):
    at = "/flows/plant/debug/recording"
    on = await served.http.post(at, json={"recording": True, "filter": "value < 0"})
    assert on.json()["recording"] is True
    await entries(served, lambda e: e["type"] == "debug.event" and e["data"]["type"] == "message")
    off = await served.http.post(at, json={"recording": False})
    assert off.json()["events"] > 0
    file = await served.http.get(at)
    assert "attachment" in file.headers["content-disposition"]
    told = file.json()
    assert set(told) == {"snapshots", "events", "alerts", "metadata"}
    assert set(told["metadata"]) == {"exportTimestamp", "recordingDuration", "eventCount"}
    assert all(e["data"]["value"] < 0 for e in told["events"] if e["type"] == "message")
    events = (
        await served.http.get("/flows/plant/debug/events", params={"connection": EDGE})
    ).json()
    assert events["events"]
    await served.http.delete(at)
    assert (await served.http.get(at)).json()["events"] == []
    wrong = await served.http.post(at, json={"recording": "yes"})
    assert wrong.status_code == 422


async def test_thresholds_are_changed_and_checked(served):
    at = "/flows/plant/debug/thresholds"
    told = await served.http.put(at, json={"errorRate": {"warning": 0.2, "critical": 0.4}})
    assert told.json()["errorRate"] == {"warning": 0.2, "critical": 0.4}
    assert told.json()["latency"] == {"warning": 100, "critical": 500}
    assert (
        await served.http.put(at, json={"latency": {"warning": 2, "critical": 1}})
    ).status_code == 422
    assert (await served.http.put(at, json={"speed": 1})).status_code == 422


async def test_the_stream_ends_with_the_flow_and_nothing_is_there_after(served):
    headers = {"accept": "application/x-ndjson"}
    async with asyncio.timeout(PATIENCE):
        async with served.http.stream("GET", DEBUG, headers=headers) as stream:
            lines = stream.aiter_lines()
            assert json.loads(await anext(lines))["type"] == "debug.snapshot"
            await served.http.delete("/flows/plant")
            async for _ in lines:
                pass
    assert (await served.http.get(DEBUG)).status_code == 404
