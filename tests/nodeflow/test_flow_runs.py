"""Random flows of library nodes on a virtual clock: what comes out is what a plain evaluation of
the same graph gives, whatever the buffers. Nothing is lost, nothing is made up, and they end."""

import asyncio
import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import DynamicPipeline, Flow, Pipeline, pipeline_of
from millstream.engine.engine import Engine, EngineOptions, Start
from millstream.events import decode, encode
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream_apps.nodeflow.nodes.base import Tools
from millstream_apps.nodeflow.nodes.library import library
from tests.simulation.house import NoBlobs

KINDS = {
    "map": ({"to": "value * 2 + 1"}, lambda values: [value * 2 + 1 for value in values]),
    "filter": ({"keep": "value % 3 != 0"}, lambda values: [v for v in values if v % 3]),
    "split": ({"into": "[value, -value]"}, lambda values: [w for v in values for w in (v, -v)]),
    "merge": ({}, list),
}


@st.composite
def flows(draw):
    """A flow, and what its ends give by the plain evaluation: all values, and the sum of them."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=2))
    nodes, edges, values = [], [], {}
    for at, size in enumerate(sizes):
        config = {"size": size, "interval": draw(st.sampled_from([0.01, 1])), "count": 2}
        nodes.append({"id": f"s{at}", "type": "burst", "config": config})
        values[f"s{at}"] = list(range(2 * size))
    for at in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["map", "filter", "split", "merge"]))
        read = draw(st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=3, unique=True))
        config, means = KINDS[kind]
        nodes.append({"id": f"n{at}", "type": kind, "config": config})
        edges += [_edge(draw, source, f"n{at}") for source in read]
        values[f"n{at}"] = means([value for source in read for value in values[source]])
    end = draw(st.sampled_from(sorted(values)))
    nodes += [
        {"id": "window", "type": "window", "config": {"count": draw(st.integers(1, 9))}},
        {"id": "sums", "type": "aggregate", "config": {"figures": ["sum", "count"]}},
        {"id": "values", "type": "log", "config": {"message": "str(value)"}},
        {"id": "totals", "type": "log", "config": {"message": "f'{value.sum} {value.count}'"}},
    ]
    chain = [(end, "window"), ("window", "sums"), ("sums", "totals"), (end, "values")]
    edges += [_edge(draw, *ends) for ends in chain]
    return {"id": "f", "nodes": nodes, "edges": edges}, values[end]


def _edge(draw, source, target):
    config = draw(st.sampled_from([{}, {"bufferSize": 1}, {"bufferSize": 7}, {"adaptive": True}]))
    return {"source": source, "target": target, "config": config}


def run(flow):
    """What the log nodes wrote, the flow's end, and the last statistics seen of its edges."""

    def build(flow: Flow) -> Pipeline:
        return pipeline_of(flow, library(Tools(now=virtual_now)), "flow")

    async def main():
        ids = itertools.count()
        engine = Engine(
            {"flow": DynamicPipeline("flow", build).build()},
            MemoryStore(),
            NoBlobs(),  # type: ignore[arg-type] - holds nothing
            now=virtual_now,
            chance=random.Random(0).random,
            new_id=lambda: str(next(ids)),
            options=EngineOptions(drain=0.0),
        )
        await engine.open()
        document = engine.inputs["flow"].from_json(encode(flow))
        started, _ = await engine.start(Start("flow", document))
        written: dict[str, list[str]] = {"values": [], "totals": []}
        ends, edges = [], {}
        follower = await engine.follow(started.id)
        async with asyncio.timeout(1000):
            async for batch in follower.batches():
                live = engine.live(started.id)
                edges = live.statistics().edges if live and live._plane.layout else edges
                for event in map(decode, batch.events):
                    if event.step in written and event.type == "step.result":
                        written[event.step].append(event.value["message"])
                    ends += [event.type] if event.terminal else []
        follower.close()
        await engine.aclose()
        return written, ends, edges

    return run_virtual(main())


@settings(max_examples=25, deadline=None)
@given(flows())
def test_what_comes_out_is_what_a_plain_evaluation_gives(drawn):
    flow, expected = drawn
    written, ends, edges = run(flow)
    assert ends == ["run.completed"]
    assert Counter(map(int, written["values"])) == Counter(expected)
    totals = [text.split() for text in written["totals"]]
    assert sum(float(total) for total, _ in totals) == sum(expected)
    assert sum(int(count) for _, count in totals) == len(expected)
    for edge in edges.values():
        assert edge.dropped == 0
        assert edge.sent == edge.delivered + edge.waiting


def test_the_same_flow_gives_the_same_log():
    nodes = [
        {"id": "s", "type": "random", "config": {"rate": 50, "count": 100, "seed": 5}},
        {"id": "w", "type": "window", "config": {"seconds": 0.5}},
        {"id": "f", "type": "aggregate", "config": {"figures": ["mean"], "percentiles": [90]}},
        {"id": "values", "type": "log", "config": {"message": "str(value)"}},
    ]
    pairs = [("s", "w"), ("w", "f"), ("f", "values")]
    edges = [{"source": source, "target": target} for source, target in pairs]
    flow = {"id": "f", "nodes": nodes, "edges": edges}
    (one, _, _), (again, _, _) = run(flow), run(flow)
    assert one == again
    assert len(one["values"]) == 4
