"""Flows: JSON to Pipeline and back, and what is said of one that cannot be."""

from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from millstream import (
    Each,
    Flow,
    FlowError,
    From,
    InputError,
    NodeType,
    NodeTypes,
    NotFound,
    Out,
    Pipeline,
    PipelineError,
    Port,
    Retry,
    Stream,
    flow_of,
    pipeline_of,
    read_flow,
    types_of,
    write_flow,
)
from millstream.core.graph import Graph
from millstream.policy import LIVE_BUFFER, Buffer


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    rate: Annotated[float, Meta(gt=0)] = 1.0


class Parts(Struct, frozen=True, forbid_unknown_fields=True):
    parts: list[str] = []


def numbers(_: Rate):
    async def source() -> AsyncIterator[float]:
        yield 1.0

    return source


def double(_):
    def step(input: Each[float]) -> float:
        return input * 2

    return step


def both(_):
    async def step(left: Stream[float], right: Stream[float]) -> AsyncIterator[float]:
        async for each in left:
            yield each
        async for each in right:
            yield each

    return step


def gather(_, __):
    async def step(inbox) -> list[object]:
        return [inbox]

    return step


def spread(_):
    def step(input: Each[float]) -> Out[float]:
        return Out("a", input)

    return step


def refuse(_):
    raise ValueError("this one cannot be made")


TYPES = NodeTypes(
    [
        NodeType("numbers", numbers, Rate, outputs=(Port("out", float),), doc="Numbers."),
        NodeType("double", double, inputs=(Port("input", float),), outputs=(Port("out", float),)),
        NodeType(
            "both",
            both,
            inputs=(Port("left", float, many=False), Port("right", float)),
            outputs=(Port("out", float),),
        ),
        NodeType(
            "spread",
            spread,
            Parts,
            inputs=(Port("input", float),),
            outputs=lambda config: tuple(Port(name, float) for name in config.parts),
        ),
        NodeType("text", double, inputs=(Port("input", str),)),
        NodeType("gather", gather, ports_of_node=True),
        NodeType("refuse", refuse, inputs=(Port("input"),)),
    ]
)


def flow(nodes, edges=(), **more):
    return read_flow({"id": "f", "nodes": nodes, "edges": list(edges), **more})


def node(id, type="double", **config):
    return {"id": id, "type": type, "config": config}


def edge(source, target, **more):
    return {"source": source, "target": target, **more}


def faults(*arguments, **more):
    with pytest.raises(FlowError) as told:
        pipeline_of(flow(*arguments, **more), TYPES)
    return [(fault["field"], fault["message"]) for fault in told.value.errors]


# --- what is wrong --------------------------------------------------------------------------------

N, D = node("n", "numbers"), node("d")


@pytest.mark.parametrize(
    ("nodes", "edges", "field", "said"),
    [
        ([], [], "nodes", "at least one"),
        ([node("n", "number")], [], "nodes[0].type", "; did you mean 'numbers'"),
        ([N, N], [], "nodes[0].id", "two nodes are called 'n'"),
        ([node("a/b", "numbers")], [], "nodes[0].id", "node 'a/b': use letters"),
        ([node("n", "numbers", rate=0)], [], "nodes[0].config.rate", "Expected `float` > 0"),
        ([node("n", "numbers", speed=1)], [], "nodes[0].config", "unknown field `speed`"),
        ([N, D], [edge("n", "dd")], "edges[0].target", "'n' -> 'dd': there is no node 'dd'; did"),
        ([N, D], [edge("n", "d", targetPort="inpt")], "edges[0].targetPort", "mean 'input'"),
        ([N, D], [edge("n", "d", sourcePort="up")], "edges[0].sourcePort", "no output port 'up'"),
        ([N, D], [edge("d", "n")], "edges[0].targetPort", "node 'n' (numbers) has no input port"),
        ([N, node("b", "both")], [edge("n", "b")], "edges[0].targetPort", "say which port; it"),
        ([N, D], [], "nodes[1]", "node 'd' (double): nothing is connected to 'input'"),
        ([N, node("b", "both")], [edge("n", "b", targetPort="left")], "nodes[1]", "to 'right'"),
        ([N, node("t", "text")], [edge("n", "t")], "edges[0]", "takes str, but port 'out' of"),
        ([N, D], [edge("n", "d"), edge("n", "d")], "edges[1]", "the same edge stands twice"),
        ([N, D], [edge("n", "d", id="e"), edge("d", "e", id="e")], "edges[1].id", "called 'e'"),
        ([N, D], [edge("n", "d", config={"bufferSize": 0})], "edges[0].config.bufferSize", ">= 1"),
        ([N, node("r", "refuse")], [edge("n", "r")], "nodes[1].config", "cannot be made"),
        ([node("a"), node("b")], [edge("a", "b"), edge("b", "a")], "edges", "wait for each other"),
        ([node("g", "gather")], [], "nodes[0].config", "connected to 'inbox'"),
    ],
)  # fmt: skip
def test_a_fault_names_its_place_and_the_node(nodes, edges, field, said):
    found = faults(nodes, edges)
    assert any(at in (field, "") and said in message for at, message in found), found


def test_two_edges_into_a_port_that_takes_one():
    nodes = [N, node("m", "numbers"), node("b", "both")]
    edges = [edge(s, "b", targetPort=p) for s, p in (("n", "left"), ("m", "left"), ("m", "right"))]
    assert faults(nodes, edges) == [
        ("edges[1]", "node 'b', port 'left': this port takes one edge; remove one")
    ]


def test_all_faults_are_told_at_once():
    nodes = [node("n", "nubmers"), node("m", "numbers", rate=-1), node("d"), node("x y")]
    edges = [edge("d", "q"), edge("m", "d", config={"batchTimeout": "soon"})]
    fields = {field for field, _ in faults(nodes, edges)}
    assert fields == {
        "nodes[0].type",
        "nodes[1].config.rate",
        "nodes[3].id",
        "nodes[3]",
        "edges[0].target",
        "edges[1].config.batchTimeout",
    }


def test_a_flow_has_a_size_that_is_bounded_and_checked_in_reasonable_time():
    many = [N, *(node(f"d{n}") for n in range(300))]
    line = [edge("n", "d0"), *(edge(f"d{n}", f"d{n + 1}") for n in range(298))]
    assert faults(many, line) == [
        ("nodes", "a flow has at most 300 nodes and 1500 edges; make two of it")
    ]
    graph = pipeline_of(flow(many[:300], line), TYPES).build()
    assert list(graph.steps)[-1] == "d298"


def test_a_cycle_is_told_with_the_nodes_around_it():
    nodes = [N, *map(node, "abc")]
    edges = [edge("n", "a"), edge("a", "b"), edge("b", "c"), edge("c", "a")]
    ((field, message),) = faults(nodes, edges)
    assert field == "edges"
    assert "a -> b -> c -> a" in message or "b -> c -> a -> b" in message


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "Expected `object`"),
        (b'{"id": "f"}', "missing required field `nodes`"),
        (b'{"id": "f", "nodes": [{"id": "a"}]}', "missing required field `type`"),
        (b'{"id": "f", "nodes": [], "edges": [{"targt": "b"}]}', "did you mean 'target'"),
        (b'{"id": "f", "nodes": [{"id": "a", "type": "t", "confg": {}}]}', "did you mean 'config'"),
        (b'{"id": "f", "nodes": [], "edgs": []}', "did you mean 'edges'"),
        (b'{"id": "f", "nodes": [{"id": "a", "type": "t", "config": 3}]}', "nodes[0].config"),
    ],
)  # fmt: skip
def test_a_shape_that_is_no_flows_is_refused(document, said):
    with pytest.raises(FlowError, match=r".") as told:
        read_flow(document)
    assert said in told.value.message
    assert isinstance(told.value, InputError)
    assert told.value.status == 422


def test_two_types_of_one_name_and_one_that_is_not_there():
    with pytest.raises(PipelineError, match="two node types are named 'double'"):
        NodeTypes([*TYPES.values(), NodeType("double", double)])
    with pytest.raises(NotFound, match="did you mean 'double'"):
        TYPES.find("doubel")


# --- what comes of a flow -------------------------------------------------------------------------


def test_an_edges_config_is_its_channels_buffer_and_its_readers_retry():
    config = {
        "bufferSize": 10,
        "batchTimeout": 20,
        "maxBatchSize": 5,
        "backpressureThreshold": 0.5,
        "retryAttempts": 2,
        "retryDelay": 50,
        "onFull": "drop_oldest",
    }
    nodes = [N, node("m", "numbers"), D]
    graph = pipeline_of(flow(nodes, [edge("n", "d", config=config), edge("m", "d")]), TYPES).build()
    step = graph.steps["d"]
    first, second = step.arrows
    assert first.buffer == Buffer(size=10, linger=0.02, batch=5, high=0.5, on_full="drop_oldest")
    assert (second.buffer or step.buffer) == LIVE_BUFFER
    assert step.retry == Retry(attempts=3, base=0.05)


def test_the_newest_of_each_key_is_kept_by_a_field():
    config = {"onFull": "latest", "key": "sensor", "priority": "control"}
    graph = pipeline_of(flow([N, D], [edge("n", "d", config=config)]), TYPES).build()
    (arrow,) = graph.steps["d"].arrows
    assert arrow.buffer is not None
    assert (arrow.buffer.on_full, arrow.buffer.priority) == ("latest", "control")
    assert arrow.buffer.key is not None
    messages = [{"sensor": "a"}, {"sensor": [1]}, {}, 3, {"sensor": 2}]
    assert [arrow.buffer.key(each) for each in messages] == ["a", "[1]", None, None, 2]
    ((field, said),) = faults([N, D], [edge("n", "d", config={"key": "sensor"})])
    assert field == "edges[0].config"
    assert "it is for onFull 'latest'" in said


def test_the_contracts_defaults_are_the_channels_own():
    said = {
        "bufferSize": 1000,
        "batchTimeout": 16,
        "maxBatchSize": 50,
        "backpressureThreshold": 0.8,
        "retryAttempts": 3,
        "retryDelay": 100,
    }
    graph = pipeline_of(flow([N, D], [edge("n", "d", config=said)]), TYPES).build()
    (arrow,) = graph.steps["d"].arrows
    assert (arrow.buffer or graph.steps["d"].buffer) == LIVE_BUFFER
    assert graph.steps["d"].retry == Retry(attempts=4, base=0.1)


def test_what_editors_call_the_only_ports_is_known():
    ends = {"sourcePort": "output", "targetPort": "in"}
    graph = pipeline_of(flow([N, D], [edge("n", "d", **ends)]), TYPES).build()
    assert [arrow.id for arrow in graph.steps["d"].arrows] == ["n:out->d:input"]


def test_each_flow_has_functions_of_its_own():
    document = flow([N, D], [edge("n", "d")])
    one, other = (pipeline_of(document, TYPES).build() for _ in range(2))
    assert one.steps["d"].function is not other.steps["d"].function


def test_a_type_describes_itself_to_an_editor():
    told = {each["type"]: each for each in TYPES.described()}
    assert told["numbers"]["config"]["properties"]["rate"]["exclusiveMinimum"] == 0
    assert told["double"]["inputs"] == [{"name": "input", "type": "float", "required": True}]
    assert told["spread"]["outputs"] == "as its config says"


# --- there and back -------------------------------------------------------------------------------

IDS = st.text("abcdefgh-_.0123", min_size=1, max_size=6)
CHANNELS = st.fixed_dictionaries(
    {},
    optional={
        "bufferSize": st.integers(1, 5000),
        "batchTimeout": st.integers(0, 500),
        "maxBatchSize": st.integers(1, 99),
        "backpressureThreshold": st.floats(0.1, 1),
        "retryAttempts": st.integers(0, 9),
        "retryDelay": st.integers(0, 999),
        "onFull": st.sampled_from(["block", "drop_oldest", "latest"]),
        "priority": st.sampled_from(["ui-update", "data-flow", "control", "error"]),
        "adaptive": st.booleans(),
    },
)


@st.composite
def flows(draw):
    """Random right flows: each node reads earlier ones, in any order in the document."""
    ids = draw(st.lists(IDS, min_size=1, max_size=8, unique=True))
    nodes, edges = [], []
    for at, id in enumerate(ids):
        kind = draw(st.sampled_from(["numbers", "double", "both", "spread"])) if at else "numbers"
        config = {"parts": draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True))}
        made = {"id": id, "type": kind, "config": config if kind == "spread" else {}}
        if draw(st.booleans()):
            made |= {"label": "A node", "position": {"x": at, "y": 0}}
        wanted = {
            "numbers": [],
            "double": ["input"],
            "both": ["left", "right"],
            "spread": ["input"],
        }
        for port in wanted[kind]:
            edges.append(_edge(draw, draw(st.sampled_from(nodes)), id, port, at))
        nodes.append(made)
    order = draw(st.permutations(range(len(nodes))))
    flow = {"id": "f", "nodes": [nodes[at] for at in order], "edges": draw(st.permutations(edges))}
    return flow | draw(st.sampled_from([{}, {"name": "A flow"}]))


def _edge(draw, source, target, port, at):
    made = {"source": source["id"], "target": target}
    if source["type"] == "spread":
        made["sourcePort"] = draw(st.sampled_from(source["config"]["parts"]))
    elif draw(st.booleans()):
        made["sourcePort"] = draw(st.sampled_from(["out", "output"]))
    if port != "input" or draw(st.booleans()):
        made["targetPort"] = port
    if draw(st.booleans()):
        made["id"] = f"{target}.{port}"
    config = draw(CHANNELS)
    return made | ({"config": config} if config else {})


@settings(max_examples=80, deadline=None)
@given(flows())
def test_a_flow_becomes_a_pipeline_and_the_same_flow_again(document):
    pipeline = pipeline_of(read_flow(document), TYPES)
    written = write_flow(flow_of(pipeline))
    for each in document["nodes"]:
        if not each["config"]:
            del each["config"]  # what says nothing is not written
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in written.items()} == {
        k: v for k, v in document.items() if v
    }
    assert shape(pipeline_of(read_flow(written), TYPES).build()) == shape(pipeline.build())


def shape(graph: Graph):
    """What of a graph does not depend on which functions there are."""
    return {
        name: (
            step.ports,
            step.retry,
            step.buffer,
            step.publish,
            {(a.id, a.tag, a.reading, a.buffer) for a in step.arrows},
        )
        for name, step in graph.steps.items()
    }


def test_a_live_pipeline_of_functions_is_written_and_read_back():
    pipeline = Pipeline("sensors", live=True, doc="Two of them.")

    @pipeline.step
    async def celsius() -> AsyncIterator[float]:
        yield 1.0

    @pipeline.step(ports=("low", "high"), executor="inline")
    def sorted_out(celsius: Each[float]) -> Out[float]:
        return Out("low", celsius)

    @pipeline.step(retry=Retry(attempts=2), executor="inline")
    def cold(value: Annotated[Each[float], From("sorted_out", port="low")]) -> float:
        return value

    @pipeline.step
    async def told(cold: Stream[float]) -> AsyncIterator[float]:
        async for each in cold:
            yield each

    document = flow_of(pipeline)
    again = pipeline_of(read_flow(write_flow(document)), types_of(pipeline))
    assert shape(again.build()) == shape(pipeline.build())
    assert flow_of(again) == document
    assert {e.source_port for e in document.edges if e.target == "cold"} == {"low"}


def test_a_durable_pipeline_too_with_its_input():
    pipeline = Pipeline("words")

    @pipeline.step(timeout=3, executor="thread")
    def words(text: str) -> list[str]:
        return text.split()

    @pipeline.step
    def length(words: Each[str]) -> int:
        return len(words)

    @pipeline.step
    def total(length: list[int]) -> int:
        return sum(length)

    document = flow_of(pipeline)
    again = pipeline_of(read_flow(write_flow(document)), types_of(pipeline))
    assert not document.live
    assert again.build() == pipeline.build()


def test_a_config_can_be_changed_in_the_document():
    document = Flow("f", flow([N, D]).nodes)
    assert document.with_config("n", {"rate": 3.0}).nodes[0].config == {"rate": 3.0}
    assert document.with_config("n", {"rate": 3.0}).node("d") == document.node("d")
