"""From a flow to a Pipeline: each node becomes a step, each edge an arrow.

A function's parameter is an input port of the same name. A function that takes `inbox` gets there
whatever comes by ports that are no parameters of it, each message as `In(port, value)`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from millstream.annotations import From
from millstream.context import Context
from millstream.errors import MillstreamError, PipelineError
from millstream.flows.check import Plan, PlannedEdge, PlannedNode, plan
from millstream.flows.document import Flow, refusal
from millstream.flows.types import OUTPUT, NodeTypes, Site
from millstream.pipeline import Pipeline
from millstream.policy import LIVE_BUFFER, Retry

INBOX = "inbox"


class FlowPipeline(Pipeline):
    """A pipeline that was made of a flow, and knows it."""

    def __init__(self, name: str, planned: Plan, **options: Any) -> None:
        super().__init__(name, doc=planned.flow.name, live=planned.flow.live, **options)
        self.plan = planned


def pipeline_of(flow: Flow, types: NodeTypes, name: str | None = None, **options: Any) -> Pipeline:
    """The pipeline that a flow describes, built. `name` is the flow's id where not given;
    `options` are those of `Pipeline`. Raises FlowError with everything that is wrong."""
    planned = plan(flow, types)
    pipeline = FlowPipeline(name or flow.id, planned, **options)
    faults = []
    for node in planned.nodes:
        try:
            _add(pipeline, planned, node)
        except (ValueError, MillstreamError) as error:
            place = f"nodes[{flow.nodes.index(node.node)}].config"
            faults.append({"field": place, "message": f"node {node.node.id!r}: {error}"})
    if faults:
        raise refusal(faults)
    try:
        pipeline.build()
    except PipelineError as error:
        raise refusal([{"field": "", "message": error.message}]) from error
    return pipeline


def function_of(flow: str, planned: PlannedNode) -> Callable[..., Any]:
    """A fresh function for a node of that flow: for its step, or to take the place of the one it
    has. Raises what the type's `make` raises."""
    if not planned.type.ports_of_node:
        return planned.type.make(planned.config)
    site = Site(flow, planned.node.id, tuple(planned.inputs), tuple(planned.outputs))
    return planned.type.make(planned.config, site)


def _add(pipeline: Pipeline, planned: Plan, node: PlannedNode) -> None:
    function = function_of(planned.flow.id, node)
    edges = planned.into(node.node.id)
    policies: dict[str, Any] = {"executor": "inline", **node.type.policies}
    ports = tuple(node.outputs)
    if ports and ports != (OUTPUT,):
        policies["ports"] = ports
    if (retry := _retry(edges)) is not None:
        policies["retry"] = retry
    arrows = _arrows(function, edges) if pipeline.live else None
    if arrows is not None:
        _check_fed(function, arrows)
    pipeline.add(node.node.id, function, arrows=arrows, **policies)


def _check_fed(function: Callable[..., Any], arrows: Mapping[str, Any]) -> None:
    """A parameter that no edge feeds would be the pipeline's input, and a flow has none."""
    for parameter in inspect.signature(function).parameters.values():
        fed = parameter.name in arrows or parameter.default is not parameter.empty
        if not fed and parameter.annotation is not Context:
            raise PipelineError(f"nothing is connected to {parameter.name!r}; draw an edge to it")


def _arrows(
    function: Callable[..., Any], edges: list[PlannedEdge]
) -> Mapping[str, tuple[From, ...]]:
    parameters = inspect.signature(function).parameters
    found: dict[str, tuple[From, ...]] = {}
    for edge in edges:
        parameter = INBOX if edge.target_port not in parameters else edge.target_port
        buffer = edge.channel.buffer(LIVE_BUFFER)
        arrow = From(
            edge.source,
            port=edge.source_port,
            tag=edge.target_port,
            buffer=None if buffer == LIVE_BUFFER else buffer,
        )
        found[parameter] = (*found.get(parameter, ()), arrow)
    return found


def _retry(edges: list[PlannedEdge]) -> Retry | None:
    """What the edges into a node say together: the most patient one counts."""
    said = [retry for edge in edges if (retry := edge.channel.retry()) is not None]
    return max(said, key=lambda retry: (retry.attempts, retry.base), default=None)
