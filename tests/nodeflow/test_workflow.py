"""Flows at work: what the earlier implementation only seemed to do, seen done.

Every message that is sent is delivered, dropped and counted, or waiting; executors get their
inputs; widgets get every message, in many batches; buffers show how full they are.
"""

import asyncio

import pytest

from millstream import Conflict, FlowError, NotFound, PipelineError
from millstream_apps.nodeflow.executors import NodeContext
from millstream_apps.nodeflow.workflow import WorkflowEngine
from tests.server.serving import until


@pytest.fixture
async def engine():
    async with WorkflowEngine() as opened:
        yield opened


def node(id, type, **config):
    return {"id": id, "type": type, "config": config}


def edge(source, target, sport=None, tport=None, **config):
    made = {"source": source, "target": target, "config": config}
    return (
        made | ({"sourcePort": sport} if sport else {}) | ({"targetPort": tport} if tport else {})
    )


def flow(nodes, edges, id="f"):
    return {"id": id, "name": "A flow", "nodes": nodes, "edges": edges}


async def published(engine, run, step):
    """All that a node has published, when the flow has ended."""
    return [
        event.value
        async for event in engine.app.service.events(run.id)
        if event.step == step and event.type in ("step.partial", "step.result")
    ]


async def followed(engine, workflow, step):
    """Start a workflow that ends, watch it, and give what a node publishes."""
    run = await engine.execute_workflow(workflow)
    return run, await published(engine, run, step)


async def at_work(engine, step):
    """A flow's streams, when a step has made something."""
    async with asyncio.timeout(20):
        while True:
            try:
                live = await engine.get_stream_engine("f")
                if live.statistics().steps[step].made:
                    return live
            except Conflict:
                pass  # it is about to begin
            await asyncio.sleep(0.01)


async def test_a_widget_gets_what_the_source_sent_in_many_batches(engine):
    seen = []

    def note(context: NodeContext):
        """Remembers what it gets."""
        seen.append(context.inputs["input"])

    engine.register_node_executor("note", note)
    nodes = [
        node("s", "sine", rate=2000, period=1, count=1000),
        node("chart", "chart"),
        node("note", "note"),
    ]
    _, batches = await followed(
        engine, flow(nodes, [edge("s", "chart"), edge("s", "note")]), "chart"
    )
    items = [item["value"] for batch in batches for item in batch]
    assert len(seen) == 1000
    assert items == seen  # no made-up data, none lost
    assert len(batches) > 5


async def test_executors_get_their_inputs_and_config_and_emit_to_ports(engine):
    contexts = []

    async def add(context: NodeContext):
        contexts.append(context)
        if {"a", "b"} <= context.inputs.keys():
            await context.emit_output("sum", context.inputs["a"] + context.inputs["b"])
            await context.emit_output("last", context.config["name"])

    async def three(context: NodeContext):
        assert context.inputs == {}
        for n in (1, 2, 3):
            await context.emit_output("output", n)

    engine.register_node_executor("add", add)
    engine.register_node_executor("three", three)
    nodes = [
        node("x", "three"),
        node("y", "three"),
        {
            **node("add", "add", name="adder"),
            "inputs": ["a", {"id": "b"}],
            "outputs": ["sum", "last"],
        },
        node("sums", "log-view"),
        node("names", "table"),
    ]
    edges = [
        edge("x", "add", "output", "a"),
        edge("y", "add", "output", "b"),
        edge("add", "sums", "sum"),
        edge("add", "names", "last"),
    ]
    run, batches = await followed(engine, flow(nodes, edges), "sums")
    sums = [int(item["value"]["message"]) for batch in batches for item in batch]
    assert len(contexts) == 6
    assert sums[-1] == 6
    assert all(2 <= each <= 6 for each in sums)
    assert {context.port for context in contexts} == {"a", "b"}
    assert contexts[0].workflow_id == "f"
    assert (await engine.app.service.document(run.id)).state == "completed"


async def test_an_executors_error_is_told_and_its_neighbours_go_on(engine):
    async def picky(context: NodeContext):
        if context.inputs["input"] == 3:
            context.emit_error("three is too many")
        if context.inputs["input"] == 4:
            await context.emit_output("nowhere", 1)
        await context.emit_output("output", context.inputs["input"])

    engine.register_node_executor("picky", picky)
    nodes = [node("s", "burst", size=6, count=1), node("p", "picky"), node("t", "table")]
    run, batches = await followed(engine, flow(nodes, [edge("s", "p"), edge("p", "t")]), "t")
    values = [item["value"]["value"] for batch in batches for item in batch]
    assert values == [0, 1, 2, 5]
    told = [e.value async for e in engine.app.service.events(run.id) if e.type == "step.failed"]
    assert [each["code"] for each in told] == ["node_error", "no_port"]
    assert "three is too many" in told[0]["message"]
    assert "it has out" in told[1]["message"]


async def test_a_paused_reader_fills_its_buffer_and_what_is_lost_is_counted(engine):
    nodes = [
        node("s", "burst", size=500, interval=0.02),
        node("kept", "map"),
        node("lossy", "map"),
    ]
    edges = [
        edge("s", "kept", bufferSize=100, backpressureThreshold=0.8),
        edge("s", "lossy", bufferSize=50, onFull="drop_oldest"),
    ]
    await engine.execute_workflow(flow(nodes, edges))
    live = await at_work(engine, "lossy")
    await live.pause("lossy")
    dropped = live.statistics().edges["s:out->lossy:input"].dropped
    await until(lambda: live.statistics().edges["s:out->lossy:input"].dropped > dropped + 500)
    lossy = live.statistics().edges["s:out->lossy:input"]
    assert lossy.sent == lossy.delivered + lossy.dropped + lossy.waiting
    assert lossy.waiting == lossy.size == 50
    await live.pause("kept")
    await until(lambda: live.statistics().edges["s:out->kept:input"].fill >= 0.8)
    kept = live.statistics().edges["s:out->kept:input"]
    assert kept.dropped == 0
    assert kept.sent == kept.delivered + kept.waiting
    await live.resume("kept")
    before = live.statistics().steps["kept"].made
    await until(lambda: live.statistics().steps["kept"].made > before + 500)
    assert await engine.stop_workflow("f", "seen enough")
    await until(lambda: not engine.app.engine.worker.busy)
    assert not await engine.stop_workflow(
        (await engine.app.service.runs(pipeline="flow"))[0].id, "again"
    )


async def test_a_flow_of_every_kind_of_node_ends_with_nothing_lost(engine):
    nodes = [
        node("s", "burst", size=1000, count=1),
        node("even", "filter", keep="value % 2 == 0"),
        node("pair", "map", to="[value, value + 1]"),
        node("each", "split"),
        node("side", "switch", cases=[{"port": "low", "when": "value < 500"}], otherwise="high"),
        node("again", "merge"),
        node("tens", "window", count=10),
        node("sum", "aggregate", figures=["sum", "count"]),
        node("rows", "table", most=1),
    ]
    edges = [
        edge("s", "even"),
        edge("even", "pair"),
        edge("pair", "each"),
        edge("each", "side"),
        edge("side", "again", "low"),
        edge("side", "again", "high"),
        edge("again", "tens"),
        edge("tens", "sum"),
        edge("sum", "rows"),
    ]
    run, batches = await followed(engine, flow(nodes, edges), "rows")
    rows = [item["value"] for batch in batches for item in batch]
    assert sum(row["count"] for row in rows) == 1000
    assert sum(row["sum"] for row in rows) == sum(range(1000))
    assert (await engine.app.service.document(run.id)).state == "completed"


async def test_what_is_wrong_is_said_before_anything_runs(engine):
    with pytest.raises(FlowError) as told:
        await engine.execute_workflow(flow([node("a", "sin"), node("b", "map", to="x")], []))
    assert {fault["field"] for fault in told.value.errors} == {"nodes[0].type", "nodes[1].config"}
    with pytest.raises(PipelineError, match="two node types are named 'map'"):
        engine.register_node_executor("map", print)
    with pytest.raises(NotFound, match="no flow 'f'"):
        await engine.stop_workflow("f")
    endless = flow([node("t", "timer")], [])
    await engine.execute_workflow(endless)
    with pytest.raises(Conflict, match="stop it first"):
        await engine.execute_workflow(endless)


async def test_a_window_whose_config_is_changed_loses_nothing(engine):
    nodes = [
        node("s", "burst", size=10, interval=0.01, count=60),
        node("w", "window", count=1000),
        node("rows", "table", show="{'n': len(value.values), 'first': value.values[0]}"),
    ]
    run = await engine.execute_workflow(flow(nodes, [edge("s", "w"), edge("w", "rows")]))
    reading = asyncio.create_task(published(engine, run, "rows"))
    live = await at_work(engine, "s")
    await until(lambda: live.statistics().edges["s:out->w:input"].delivered > 50)
    await engine._flows.configure("f", "w", {"count": 7})
    await until(lambda: live.statistics().steps["w"].made > 3)
    await engine._flows.configure("f", "w", {"count": 5, "slide": 5})
    rows = [item["value"] for batch in await reading for item in batch]
    assert sum(row["n"] for row in rows) == 600
    assert [row["first"] for row in rows] == [
        sum(row["n"] for row in rows[:at]) for at in range(len(rows))
    ]
    assert {7, 5} <= {row["n"] for row in rows}


async def test_a_stream_joined_with_itself_and_a_merge_lose_nothing(engine):
    nodes = [
        node("s", "burst", size=200, count=1),
        node("double", "map", to="value * 2"),
        node("pairs", "join", left_key="value", right_key="value / 2", mode="once"),
        node("all", "merge"),
        node("rows", "table"),
    ]
    edges = [
        edge("s", "double"),
        edge("s", "pairs", tport="left"),
        edge("double", "pairs", tport="right"),
        edge("pairs", "all", "out"),
        edge("pairs", "all", "unmatched"),
        edge("all", "rows"),
    ]
    _, batches = await followed(engine, flow(nodes, edges), "rows")
    rows = [item["value"] for batch in batches for item in batch]
    assert sorted(row["left"] for row in rows) == list(range(200))
    assert all(row["right"] == 2 * row["left"] == 2 * row["key"] for row in rows)
