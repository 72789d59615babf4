"""LiveRun: a live run from outside. Looking at it, and changing it while it goes on."""

from collections.abc import Callable
from typing import Any

from millstream.core.graph import Arrow
from millstream.core.latency import Latencies
from millstream.engine.live.forms import same_form
from millstream.engine.live.functions import SegmentNode
from millstream.engine.live.layout import Layout, Node
from millstream.engine.live.long import LongNode
from millstream.engine.live.plane import Plane
from millstream.engine.live.source import SourceNode
from millstream.engine.live.statistics import EdgeStatistics, LiveStatistics, StepState
from millstream.engine.live.taps import Tap
from millstream.errors import Conflict, NotFound, PipelineError, RequestError, did_you_mean


class LiveRun:
    """One live run of this process; from `Engine.live`. All methods raise NotFound for a step
    that there is not, and Conflict before the run has begun or after its end."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    @property
    def _layout(self) -> Layout:
        layout = self._plane.layout
        if layout is None:
            raise Conflict("the run has not begun yet; try again in a moment")
        return layout

    def _node(self, step: str) -> Node:
        node = self._layout.nodes.get(step)
        if node is None:
            near = did_you_mean(step, self._layout.nodes)
            raise NotFound(f"the flow has no step {step!r} that messages pass{near}")
        return node

    # --- looking ----------------------------------------------------------------------------

    def statistics(self) -> LiveStatistics:
        """All steps and arrows, now."""
        layout = self._layout
        moment = self._plane.work.now()
        return LiveStatistics(
            time=moment,
            steps={name: counts.statistics(moment) for name, counts in layout.counts.items()},
            edges={arrow.id: self._edge(layout, arrow) for arrow in layout.arrows()},
        )

    def latencies(self) -> dict[str, Latencies]:
        """What is counted of each arrow's latencies so far, to compare with later; fused arrows
        have none."""
        channels = self._layout.channels.items()
        return {id: channel.gauge.latencies.copy() for id, channel in channels}

    def _edge(self, layout: Layout, arrow: Arrow) -> EdgeStatistics:
        channel = layout.channels.get(arrow.id)
        if channel is not None:
            return channel.statistics()
        node = layout.nodes[arrow.target]
        assert isinstance(node, SegmentNode | SourceNode), "an arrow without a channel is fused"
        passed = layout.passed_inside.get(arrow.id, 0)
        source = layout.counts[arrow.source]
        passed += node.turns.segment.inside(arrow.source, arrow.port)
        return EdgeStatistics(
            id=arrow.id,
            source=arrow.source,
            port=arrow.port,
            target=arrow.target,
            parameter=arrow.parameter,
            sent=passed,
            delivered=passed,
            rate=source.meter.rate(source.made, self._plane.work.now()),
            fused=True,
        )

    def tap(self, target: str, per_second: float = 10.0) -> Tap:
        """Samples of what flows: of a step ("price"), one of its ports ("switch:above"), or an
        arrow by its id. At most so many a second. Close it when done."""
        layout = self._layout
        if not 0 < per_second <= 1000:
            raise RequestError(f"per_second={per_second}: samples, more than 0 and up to 1000")
        step, port = self._port(target)
        outlet = layout.outlets[step].ports[port]
        tap = Tap(step, port, per_second, now=self._plane.work.now, on_close=outlet.taps.remove)
        outlet.taps.append(tap)
        return tap

    def _port(self, target: str) -> tuple[str, str]:
        """The step and port that a tap's target means."""
        layout = self._layout
        for arrow in layout.arrows():
            if arrow.id == target:
                return arrow.source, arrow.port
        step, _, port = target.rpartition(":")
        if target in layout.outlets:
            step, port = target, ""
        if step not in layout.outlets:
            near = did_you_mean(target, layout.outlets)
            raise NotFound(f"{target!r} is no step, port or arrow of the flow{near}")
        ports = layout.outlets[step].ports
        if not port and len(ports) == 1:
            return step, next(iter(ports))
        if port not in ports:
            raise NotFound(f"step {step!r} has the ports {', '.join(ports)}; name one: {step}:PORT")
        return step, port

    # --- changing ---------------------------------------------------------------------------

    async def pause(self, step: str) -> None:
        """The step takes nothing more until `resume`; its buffer fills, then its policy acts."""
        await self._set_paused(step, True)

    async def resume(self, step: str) -> None:
        """Go on where it was."""
        await self._set_paused(step, False)

    async def _set_paused(self, step: str, paused: bool) -> None:
        node = await self._alone(step)
        if isinstance(node, SourceNode):
            node.gate.pause(paused)
        elif isinstance(node, LongNode):
            node.gate.pause(paused)
            for reader in node.readers.values():
                reader.inbox.pause(paused)
        else:
            node.inbox.pause(paused)
        self._note(step, "paused" if paused else "running")

    async def stop(self, step: str) -> None:
        """The step ends what it is doing; what comes to it is dropped, and counted, until
        `start`. A source gives nothing."""
        node = await self._alone(step)
        if isinstance(node, SourceNode):
            node.stop()
        elif isinstance(node, LongNode):
            await node.stop()
        else:
            node.inbox.discard(True)
        self._note(step, "stopped")

    async def start(self, step: str) -> None:
        """Begin anew after `stop`."""
        node = await self._alone(step)
        if isinstance(node, SourceNode | LongNode):
            node.start()
        else:
            node.inbox.discard(False)
        self._note(step, "running")

    async def configure(self, step: str, function: Callable[..., Any]) -> None:
        """From now on this function is the step; all others go on undisturbed. A source or
        transformer begins anew with it, a transformer with the first message not yet read.
        Raises PipelineError where it is of another form than the step's own."""
        self._node(step)
        problem = same_form(self._plane.work.graph.steps[step], function)
        if problem:
            raise PipelineError(f"step {step!r} cannot be configured so: {problem}")
        await self._plane.exchange(step, function)

    async def _alone(self, step: str) -> Node:
        """The step's node, out of its segment if it was in one."""
        self._node(step)
        return await self._plane.isolate(step)

    def _note(self, step: str, state: StepState) -> None:
        counts = self._layout.counts[step]
        if counts.state not in ("ended", "failed"):
            counts.state = state

    def __repr__(self) -> str:
        layout = self._plane.layout
        return f"<LiveRun of {len(layout.nodes) if layout else 0} steps>"
