"""Layout: which channels, inboxes and nodes a live graph needs, and which step runs in which node.

Makes them and puts them together; starts nothing. A step's inbox outlives its node, so that steps
can be taken out of a segment, or exchanged, while messages wait.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millstream.core.graph import Arrow, Graph, Reading, Step
from millstream.engine.live import fusion
from millstream.engine.live.calls import Calls
from millstream.engine.live.channel import Channel
from millstream.engine.live.contexts import Contexts
from millstream.engine.live.expanding import expanding
from millstream.engine.live.failures import Reporter
from millstream.engine.live.functions import AsyncNode, OrderedNode, SegmentNode, Turns
from millstream.engine.live.inbox import Batches, Inbox, Matched, Merged, Single
from millstream.engine.live.long import LongNode
from millstream.engine.live.lossy import LossyChannel
from millstream.engine.live.outlets import Outlet, Outlets, Publisher
from millstream.engine.live.readers import Reader
from millstream.engine.live.restarts import Restarts
from millstream.engine.live.segment import Segment
from millstream.engine.live.source import SourceNode
from millstream.engine.live.statistics import Counts
from millstream.engine.work import Work, default_concurrency

Node = SegmentNode | SourceNode | AsyncNode | OrderedNode | LongNode


class Layout:
    """The house of one live run. `constants` are the values that serve all messages, by name."""

    def __init__(
        self, work: Work, constants: Mapping[str, Any], workers: Callable[[Step], int]
    ) -> None:
        self.work, self.graph, self.constants = work, work.graph, constants
        self.reporter = Reporter(work.journal, work.now)
        self.functions: dict[str, Callable[..., Any]] = {}
        """Those that have been exchanged."""
        self.apart: set[str] = set()
        self._workers = workers
        self._contexts = Contexts(work, self.reporter)
        moment = work.now()
        self.steps = [s for s in self.graph.steps.values() if self.graph.origins[s.name]]
        self.counts = {s.name: Counts(s.name, kind(self.graph, s), moment) for s in self.steps}
        self.outlets = {step.name: self._outlets(step) for step in self.steps}
        self.channels: dict[str, Channel] = {}
        self.inboxes: dict[str, Mapping[str, Inbox]] = {}
        self.groups: fusion.Groups = []
        self.nodes: dict[str, Node] = {}
        self.passed_inside: dict[str, int] = {}
        """Messages that went along fused arrows in segments that are no more."""

    def arrows(self) -> list[Arrow]:
        """Those by which messages come."""
        return [arrow for step in self.steps for arrow in self.graph.flowing(step)]

    # --- laying -----------------------------------------------------------------------------

    def lay(self) -> list[Node]:
        """Make what is missing; the nodes that are new. Those that are gone must have come to
        rest before."""
        before, self.groups = self.groups, fusion.groups(self.graph, self.apart)
        home = {name: group for group in self.groups for name in group}
        for arrow in self.arrows():
            together = home.get(arrow.source) is home.get(arrow.target)
            if arrow.id not in self.channels and not (together and arrow.source in home):
                self._connect(arrow)
        known = [tuple(group) for group in before]
        made: list[Node] = []
        for group in self.groups:
            if tuple(group) not in known:
                made.append(self._segment_node(group))
        if not before:
            alone = [step for step in self.steps if step.name not in home]
            made += [self._own_node(step) for step in alone]
        return made

    def _outlets(self, step: Step) -> Outlets:
        publisher = Publisher(self.work, step, self.counts[step.name], self.reporter.failed)
        ports = {port: Outlet(publisher, port) for port in step.ports}
        ports = ports or {"out": Outlet(publisher)}
        return Outlets(step, ports, publisher)

    def _connect(self, arrow: Arrow) -> None:
        policy = arrow.buffer or self.graph.steps[arrow.target].buffer
        make = LossyChannel if policy.lossy else Channel
        channel = make(arrow, policy, now=self.work.now, on_drop=self.reporter.soon)
        earlier = self.passed_inside.pop(arrow.id, 0)
        channel.gauge.sent = channel.gauge.delivered = earlier
        self.channels[arrow.id] = channel
        self.outlets[arrow.source].ports[arrow.port].channels.append(channel)
        self.reporter.watch(channel)

    # --- inboxes ----------------------------------------------------------------------------

    def inbox(self, step: Step) -> Inbox:
        """What a step that is called per message (or per batch) takes from; always the same."""
        if step.name not in self.inboxes:
            self.inboxes[step.name] = {"": self._inbox(step)}
        return self.inboxes[step.name][""]

    def _inbox(self, step: Step) -> Inbox:
        arrows = self.graph.flowing(step)
        channels = [self.channels[arrow.id] for arrow in arrows]
        inbox = self._joined(step, arrows, channels)
        if arrows[0].reading is Reading.BATCH:
            buffer = arrows[0].buffer or step.buffer
            inbox = Batches(inbox, buffer.batch, buffer.linger)
        return inbox

    def _joined(self, step: Step, arrows: Sequence[Arrow], channels: Sequence[Channel]) -> Inbox:
        if len(channels) == 1:
            return Inbox(channels, Single(channels[0]))
        if len({arrow.parameter for arrow in arrows}) == 1:
            return Inbox(channels, Merged(channels))
        return Inbox(channels, Matched(channels, self.counts[step.name]))

    def _readers(self, step: Step) -> dict[str, Reader]:
        """One for each Stream parameter."""
        arrows: dict[str, list[Arrow]] = {}
        for arrow in self.graph.flowing(step):
            arrows.setdefault(arrow.parameter, []).append(arrow)
        found = {
            parameter: self._joined(step, these, [self.channels[arrow.id] for arrow in these])
            for parameter, these in arrows.items()
        }
        self.inboxes[step.name] = found
        return {parameter: Reader(inbox) for parameter, inbox in found.items()}

    # --- nodes ------------------------------------------------------------------------------

    def others(self, step: Step) -> dict[str, Any]:
        """The arguments that no message brings: the input, constants, the Context."""
        found = {
            arrow.parameter: self.constants[arrow.source]
            for arrow in step.arrows
            if self.graph.origins.get(arrow.source) is None
        }
        if step.context is not None:
            found[step.context] = self._contexts.of(step)
        return found

    def _segment_node(self, group: Sequence[str]) -> Node:
        segment = self._segment(group)
        outlets = [self.outlets[name] for name in group]
        head = self.graph.steps[group[0]]
        if fusion.is_source(self.graph, head):
            counts = self.counts[head.name]
            node: Node = SourceNode(
                self.work,
                self.functions.get(head.name, head.function),
                self.others(head),
                Turns(segment, outlets),
                counts,
                Restarts(self.work, head, counts, self.reporter),
            )
        else:
            node = SegmentNode(segment, self.inbox(head), outlets, self.work.now)
        for name in group:
            self.nodes[name] = node
        self._number_segments()
        return node

    def _segment(self, group: Sequence[str]) -> Segment:
        program, variables = fusion.program(self.graph, group, self.others, self.functions)
        return Segment(
            program,
            {v: self.outlets[step].ports[port] for (step, port), v in variables.items()},
            {name: self.counts[name] for name in group},
            ports=variables,
            fail=self.reporter.failed,
            now=self.work.now,
            label=", ".join(group),
        )

    def _number_segments(self) -> None:
        for number, group in enumerate(self.groups, start=1):
            for name in group:
                self.counts[name].segment = number if len(group) > 1 else None

    def _own_node(self, step: Step) -> Node:
        """The node of a step that is never fused."""
        flowing = self.graph.flowing(step)
        if any(arrow.reading is Reading.STREAM for arrow in flowing) or not flowing:
            node: Node = self._long(step, self._readers(step), self.others(step))
            node.function = self.functions.get(step.name, step.function)
        elif step.yields:
            node = self._long(step, {"messages": Reader(self.inbox(step))}, {})
            node.function = self.expanding(step, step.function)
        else:
            node = self._calling(step)
        self.nodes[step.name] = node
        return node

    def _long(
        self, step: Step, readers: Mapping[str, Reader], constants: Mapping[str, Any]
    ) -> LongNode:
        counts = self.counts[step.name]
        restarts = Restarts(self.work, step, counts, self.reporter)
        return LongNode(
            self.work, step, readers, constants, self.outlets[step.name], counts, restarts
        )

    def expanding(self, step: Step, function: Callable[..., Any]) -> Callable[..., Any]:
        """A step that yields per message, as one long call."""
        calls = self._calls(step, self.others(step))
        counts = self.counts[step.name]
        return expanding(
            function,
            calls.arguments,
            lambda error: self.reporter.failed(counts, None, error),
            thread=step.executor == "thread" and not step.asynchronous,
        )

    def _calls(self, step: Step, constants: Mapping[str, Any]) -> Calls:
        parameters = list(dict.fromkeys(a.parameter for a in self.graph.flowing(step)))
        counts = self.counts[step.name]
        return Calls(self.work, step, parameters, constants, counts, self.reporter)

    def _calling(self, step: Step) -> Node:
        policies = (step.timeout, step.retry, step.fallback, step.breaker)
        plainly = step.asynchronous and step.concurrency in (None, 1)
        inbox, outlets = self.inbox(step), self.outlets[step.name]
        others = self.others(step)
        if plainly and all(policy is None for policy in policies):
            return AsyncNode(self._calls(step, others), inbox, outlets, self.reporter)
        if step.context is not None:
            del others[step.context]  # its executor makes one for each call
        limit = default_concurrency(step, 0, self._workers(step)) or 1
        return OrderedNode(self._calls(step, others), inbox, outlets, limit)


def kind(graph: Graph, step: Step) -> str:
    """What a step is in the flow: source, transformer, batch, expand or function."""
    flowing = graph.flowing(step)
    readings = {arrow.reading for arrow in flowing}
    if not flowing:
        return "source"
    if Reading.STREAM in readings:
        return "transformer"
    if step.yields:
        return "expand"
    return "batch" if Reading.BATCH in readings else "function"
