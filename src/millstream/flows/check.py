"""Everything that is wrong with a flow, said at once; or its plan: nodes with their types, configs
and ports, edges with both their ends. Pure.

A fault is `{"field": its place in the document, "message": naming the node or edge, and the fix}`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from msgspec import UNSET, ValidationError

from millstream import values
from millstream.errors import did_you_mean
from millstream.flows.channel import ChannelConfig, channel_config
from millstream.flows.document import Flow, FlowEdge, FlowNode, refusal
from millstream.flows.types import INPUT, OUTPUT, NodeType, NodeTypes, Port

Fault = dict[str, str]
NAME = re.compile(r"[\w.-]{1,100}")
"""What a node's id may be: it stands in URLs and in connection ids (`src:port->dst:port`)."""
MAX_NODES, MAX_EDGES = 300, 1_500
SYNONYMS: Mapping[str, tuple[str, ...]] = {INPUT: ("in",), OUTPUT: ("output",)}
"""Names that editors give to a node's only port."""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node with all that is needed to make its step."""

    node: FlowNode
    type: NodeType
    config: Any
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]


@dataclass(frozen=True, slots=True)
class PlannedEdge:
    """An edge with both ends known."""

    edge: FlowEdge
    source: str
    source_port: str
    target: str
    target_port: str
    channel: ChannelConfig


@dataclass(frozen=True, slots=True)
class Plan:
    """A flow without faults. Nodes stand in an order in which each is after those it reads."""

    flow: Flow
    nodes: tuple[PlannedNode, ...]
    edges: tuple[PlannedEdge, ...]

    def into(self, node: str) -> list[PlannedEdge]:
        """The edges that end in a node, in the document's order."""
        return [edge for edge in self.edges if edge.target == node]


def plan(flow: Flow, types: NodeTypes) -> Plan:
    """Check a flow. Raises FlowError with all its faults."""
    if len(flow.nodes) > MAX_NODES or len(flow.edges) > MAX_EDGES:
        told = f"a flow has at most {MAX_NODES} nodes and {MAX_EDGES} edges; make two of it"
        raise refusal([{"field": "nodes", "message": told}])
    checker = _Checker(flow, types)
    nodes, edges = checker.nodes(), checker.edges()
    faults = [*checker.faults, *checker.unconnected(edges), *checker.cycle(edges)]
    if faults:
        raise refusal(faults)
    order = _order([node.node.id for node in nodes], edges)
    placed = {node.node.id: node for node in nodes}
    return Plan(flow, tuple(placed[name] for name in order), tuple(edges))


class _Checker:
    """Gathers faults; what is at fault is left out of what it returns."""

    def __init__(self, flow: Flow, types: NodeTypes) -> None:
        self._flow, self._types = flow, types
        self._planned: dict[str, PlannedNode] = {}
        self._places = {node.id: at for at, node in enumerate(flow.nodes)}
        self.faults: list[Fault] = []

    def _fault(self, field: str, message: str) -> None:
        self.faults.append({"field": field, "message": message})

    # --- nodes ------------------------------------------------------------------------------

    def nodes(self) -> list[PlannedNode]:
        """Every node whose type and config are right."""
        if not self._flow.nodes:
            self._fault("nodes", "a flow needs at least one node")
        counts = Counter(node.id for node in self._flow.nodes)
        for at, node in enumerate(self._flow.nodes):
            if counts[node.id] > 1:
                self._fault(f"nodes[{at}].id", f"two nodes are called {node.id!r}; rename one")
            elif not NAME.fullmatch(node.id):
                told = "use letters, digits, '_', '-' and '.', 100 at most"
                self._fault(f"nodes[{at}].id", f"node {node.id!r}: {told}")
            self._node(at, node)
        return list(self._planned.values())

    def _node(self, at: int, node: FlowNode) -> None:
        kind = self._types.get(node.type)
        if kind is None:
            near = did_you_mean(node.type, self._types)
            told = f"node {node.id!r}: there is no node type {node.type!r}{near}"
            self._fault(f"nodes[{at}].type", told)
            return
        try:
            config = kind.configured(node.config)
            inputs, outputs = kind.ports(config, self._said(node))
        except (ValidationError, ValueError, TypeError) as error:
            self._config(f"nodes[{at}].config", f"node {node.id!r} ({node.type})", error)
            return
        named = [{port.name: port for port in ports} for ports in (inputs, outputs)]
        self._planned[node.id] = PlannedNode(node, kind, config, *named)

    def _config(self, field: str, where: str, error: Exception) -> None:
        """What a config's model objected to, each with its own place."""
        for fault in values.field_errors(error):
            inner = fault["field"]
            joint = "" if not inner or inner.startswith("[") else "."
            self._fault(f"{field}{joint}{inner}", f"{where}: {fault['message']}")

    def _said(self, node: FlowNode) -> tuple[Any, Any]:
        """The ports that a node names itself, or else those that edges use."""
        edges = self._flow.edges
        ends = ((e.target_port, INPUT) for e in edges if e.target == node.id)
        begins = ((e.source_port, OUTPUT) for e in edges if e.source == node.id)
        return (
            _unique(ends) if node.inputs is UNSET else node.inputs,
            (_unique(begins) or (OUTPUT,)) if node.outputs is UNSET else node.outputs,
        )

    # --- edges ------------------------------------------------------------------------------

    def edges(self) -> list[PlannedEdge]:
        """Every edge whose ends are there and fit."""
        seen: set[str] = set()
        into: dict[tuple[str, str], list[PlannedEdge]] = {}
        for at, edge in enumerate(self._flow.edges):
            planned = self._edge(at, edge)
            if edge.id is not UNSET:
                if edge.id in seen:
                    self._fault(f"edges[{at}].id", f"two edges are called {edge.id!r}; rename one")
                seen.add(edge.id)
            if planned is not None:
                others = into.setdefault((planned.target, planned.target_port), [])
                self._once(at, planned, others)
                others.append(planned)
        return [each for others in into.values() for each in others]

    def _edge(self, at: int, edge: FlowEdge) -> PlannedEdge | None:
        source = self._end(f"edges[{at}].source", edge, edge.source)
        target = self._end(f"edges[{at}].target", edge, edge.target)
        channel = self._channel(at, edge)
        if source is None or target is None or channel is None:
            return None
        begin = self._port(f"edges[{at}].sourcePort", source, edge.source_port, "output")
        end = self._port(f"edges[{at}].targetPort", target, edge.target_port, "input")
        if begin is None or end is None:
            return None
        if not values.fits(begin.type, end.type):
            self._fault(
                f"edges[{at}]",
                f"node {edge.target!r}, port {end.name!r} takes {values.describe(end.type)}, but "
                f"port {begin.name!r} of node {edge.source!r} gives {values.describe(begin.type)}; "
                "put a node between them that converts it",
            )
        if not self._flow.live and end.name != edge.source:
            told = "in a flow that is not live a port is called after the node that it reads"
            self._fault(f"edges[{at}].targetPort", f"node {edge.target!r}: {told}")
        return PlannedEdge(edge, edge.source, begin.name, edge.target, end.name, channel)

    def _end(self, field: str, edge: FlowEdge, name: str) -> PlannedNode | None:
        if name not in self._places:
            where = f"edge {edge.source!r} -> {edge.target!r}"
            near = did_you_mean(name, self._places)
            self._fault(field, f"{where}: there is no node {name!r}{near}")
        return self._planned.get(name)  # None too where the node itself is at fault

    def _channel(self, at: int, edge: FlowEdge) -> ChannelConfig | None:
        try:
            return channel_config(edge.config)
        except (ValidationError, ValueError) as error:
            where = f"edge {edge.source!r} -> {edge.target!r}"
            self._config(f"edges[{at}].config", where, error)
            return None

    def _port(self, field: str, planned: PlannedNode, name: Any, side: str) -> Port | None:
        ports = planned.inputs if side == "input" else planned.outputs
        where = f"node {planned.node.id!r} ({planned.type.name})"
        only = next(iter(ports.values())) if len(ports) == 1 else None
        if only is not None and (name is UNSET or name in SYNONYMS.get(only.name, ())):
            return only
        if name is not UNSET and name in ports:
            return ports[name]
        if not ports:
            self._fault(field, f"{where} has no {side} port")
            return None
        known = ", ".join(repr(port) for port in ports)
        what = "has several: say which port" if name is UNSET else f"has no {side} port {name!r}"
        near = "" if name is UNSET else did_you_mean(name, ports)
        self._fault(field, f"{where} {what}; it has {known}{near}")
        return None

    def _once(self, at: int, edge: PlannedEdge, others: list[PlannedEdge]) -> None:
        """The same edge twice, or a second one into a port that takes one."""
        port = self._planned[edge.target].inputs[edge.target_port]
        ends = (edge.source, edge.source_port)
        same = any(ends == (other.source, other.source_port) for other in others)
        if same or (others and not port.many):
            what = "the same edge stands twice" if same else "this port takes one edge"
            told = f"node {edge.target!r}, port {edge.target_port!r}: {what}; remove one"
            self._fault(f"edges[{at}]", told)

    # --- the whole --------------------------------------------------------------------------

    def unconnected(self, edges: list[PlannedEdge]) -> Iterator[Fault]:
        """Input ports that must have an edge and have none. An edge that is itself at fault
        counts: it was meant."""
        meant = {(edge.target, edge.target_port) for edge in edges}
        loose = {e.target for e in self._flow.edges} - {edge.target for edge in edges}
        for name, planned in self._planned.items():
            at = self._places[name]
            bare = [p for p in planned.inputs.values() if (name, p.name) not in meant]
            if name in loose:
                continue
            needed = [port.name for port in bare if port.required]
            if not needed and planned.inputs and len(bare) == len(planned.inputs):
                needed = [bare[0].name]  # nothing at all would reach it
            for port in needed:
                told = f"node {name!r} ({planned.type.name}): nothing is connected to {port!r}"
                yield {"field": f"nodes[{at}]", "message": f"{told}; draw an edge to it"}

    def cycle(self, edges: list[PlannedEdge]) -> Iterator[Fault]:
        """One cycle, where there is one."""
        order = _order(list(self._planned), edges)
        left = [name for name in self._planned if name not in order]
        if not left:
            return
        trail = [left[0]]
        while len(set(trail)) == len(trail):
            reads = (e.source for e in edges if e.target == trail[-1] and e.source in left)
            trail.append(next(reads))
        around = " -> ".join(reversed(trail[trail.index(trail[-1]) :]))
        yield {"field": "edges", "message": f"the nodes {around} wait for each other; cut one edge"}


def _order(names: list[str], edges: Iterable[PlannedEdge]) -> list[str]:
    """Nodes after those they read, in the document's order where that leaves a choice; without
    those on a cycle, or behind one. (Kahn, "Topological sorting of large networks", 1962.)"""
    arrows = {(edge.source, edge.target) for edge in edges}
    readers: dict[str, list[str]] = {name: [] for name in names}
    missing = dict.fromkeys(names, 0)
    for source, target in arrows:
        readers[source].append(target)
        missing[target] += 1
    places = {name: at for at, name in enumerate(names)}
    ready = [at for name, at in places.items() if not missing[name]]
    done: list[str] = []
    while ready:
        name = names[heappop(ready)]
        done.append(name)
        for reader in readers[name]:
            missing[reader] -= 1
            if not missing[reader]:
                heappush(ready, places[reader])
    return done


def _unique(named: Iterable[tuple[Any, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(default if name is UNSET else name for name, default in named))
