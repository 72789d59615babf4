"""From a Pipeline to its flow: the way back.

Nodes, edges and ports are read off the built graph. What a graph does not hold (labels, positions,
edge ids, configs as they were written) is taken from the flow that a pipeline was made of; a
pipeline of plain functions has none of that, and each of its functions is a node type of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from millstream.core.graph import Arrow, Graph, Step
from millstream.flows.build import FlowPipeline
from millstream.flows.document import Flow, FlowEdge, FlowNode
from millstream.flows.types import OUTPUT, NodeType, NodeTypes, Port
from millstream.pipeline import Pipeline

Ends = tuple[str, str, str, str]
"""Source, source port, target, target port."""


def types_of(pipeline: Pipeline) -> NodeTypes:
    """Each step of a pipeline of functions as a node type: its parameters are the input ports.

    The types stand for these very functions, with their policies; so a state that a function keeps
    is shared by the nodes of its type.
    """
    return NodeTypes(_type(pipeline.build(), step) for step in pipeline.build().steps.values())


def flow_of(pipeline: Pipeline) -> Flow:
    """The flow that describes a pipeline. Read back over `types_of` (or over the types that the
    pipeline was made with) it gives the same graph."""
    graph = pipeline.build()
    made_of = pipeline.plan.flow if isinstance(pipeline, FlowPipeline) else None
    known = _Known.of(pipeline)
    nodes = [known.node(step) for step in graph.steps.values()]
    edges = [
        known.edge(arrow)
        for step in graph.steps.values()
        for arrow in step.arrows
        if arrow.source != graph.input
    ]
    if made_of is None:
        return Flow(graph.name, tuple(nodes), tuple(edges), name=graph.doc, live=graph.live)
    node_places = {node.id: at for at, node in enumerate(made_of.nodes)}
    edge_places = {id(edge): at for at, edge in enumerate(made_of.edges)}
    return msgspec.structs.replace(
        made_of,
        nodes=tuple(sorted(nodes, key=lambda node: node_places[node.id])),
        edges=tuple(sorted(edges, key=lambda edge: edge_places[id(edge)])),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the flow that a pipeline was made of says of its steps and arrows."""

    nodes: Mapping[str, FlowNode]
    edges: Mapping[Ends, FlowEdge]

    @classmethod
    def of(cls, pipeline: Pipeline) -> "_Known":
        if not isinstance(pipeline, FlowPipeline):
            return cls({}, {})
        plan = pipeline.plan
        edges = {(e.source, e.source_port, e.target, e.target_port): e.edge for e in plan.edges}
        return cls({planned.node.id: planned.node for planned in plan.nodes}, edges)

    def node(self, step: Step) -> FlowNode:
        return self.nodes.get(step.name) or FlowNode(step.name, step.name)

    def edge(self, arrow: Arrow) -> FlowEdge:
        target_port = arrow.tag or arrow.parameter
        ends = (arrow.source, arrow.port, arrow.target, target_port)
        return self.edges.get(ends) or FlowEdge(
            arrow.source, arrow.target, source_port=arrow.port, target_port=target_port
        )


def _type(graph: Graph, step: Step) -> NodeType:
    return NodeType(
        step.name,
        partial(_same, step.function),
        inputs=tuple(_inputs(graph, step)),
        outputs=tuple(Port(name) for name in step.ports or (OUTPUT,)),
        doc=(step.function.__doc__ or "").strip(),
        policies=_policies(graph, step),
    )


def _same(function: Any, _: Any) -> Any:
    return function


def _inputs(graph: Graph, step: Step) -> Iterator[Port]:
    seen: set[str] = set()
    for arrow in step.arrows:
        if arrow.source != graph.input and arrow.parameter not in seen:
            seen.add(arrow.parameter)
            yield Port(arrow.parameter)


def _policies(graph: Graph, step: Step) -> Mapping[str, Any]:
    """A step's policies as `Pipeline.add` takes them; those that say nothing are left out."""
    names = ["timeout", "retry", "fallback", "optional", "concurrency", "executor", "internal"]
    found = {name: getattr(step, name) for name in names if getattr(step, name) is not None}
    if graph.live:
        found |= {"breaker": step.breaker, "publish": step.publish}
    return found | {"buffer": step.buffer}
