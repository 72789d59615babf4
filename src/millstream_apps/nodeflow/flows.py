"""Flows at work: start one from its JSON, find it, look at it, change it while it goes on.

A flow is a run of the pipeline `flow`, whose input is the flow's document: all that is needed to
take it up again after a restart, with every change that was made to a node's config.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from millstream import (
    Conflict,
    DynamicPipeline,
    Flow,
    FlowError,
    Millstream,
    NodeTypes,
    NotFound,
    Options,
    Pipeline,
    Retain,
    Run,
    pipeline_of,
    read_flow,
)
from millstream_apps.nodeflow import document

NAME = "flow"
Action = Literal["pause", "resume", "stop", "start"]
ACTIONS: Mapping[str, str] = {
    "pause": "paused", "resume": "running", "stop": "stopped", "start": "running",
}  # fmt: skip
LIVE = ("running", "queued")
MOST = 500


def flow_pipeline(types: Callable[[], NodeTypes], keep: Retain | None) -> DynamicPipeline:
    """The pipeline whose runs are flows. `types` gives the node types that there are now."""

    def build(flow: Flow) -> Pipeline:
        """A graph of nodes that goes on until it is stopped."""
        if not flow.live:
            raise FlowError("live: a flow that is served here is live; leave it out")
        return pipeline_of(flow, types(), NAME, keep=keep)

    return DynamicPipeline(NAME, build)


class Flows:
    """The flows of one application."""

    def __init__(
        self, app: Millstream, types: Callable[[], NodeTypes], keep: Retain | None
    ) -> None:
        self._app, self.types, self._keep = app, types, keep
        self._starting = asyncio.Lock()

    # --- runs -------------------------------------------------------------------------------

    async def start(self, body: bytes, options: Options | None = None) -> Run:
        """Start a flow. Raises FlowError with everything that is wrong with it, Conflict where one
        of its id is at work already."""
        service = self._app.service
        input, flow = self.checked(body)
        async with self._starting:
            other = await self._working(flow.id)
            if other is None:
                return await service.start(NAME, input, options or Options())
        if options is not None and options.key is not None:
            run = await service.start(NAME, input, options)
            if run.id == other.id:
                return run  # the same request once more
            await service.cancel(run.id, f"another flow {flow.id!r} is at work")
        raise Conflict(f"flow {flow.id!r} is {other.state} already; stop it first: {other.id}")

    def checked(self, body: bytes) -> tuple[bytes, Flow]:
        """A flow's input document, and the flow. Raises FlowError with everything that is wrong."""
        flow = read_flow(body)
        return self._app.service.document_from_json(NAME, body), flow

    async def list(self, state: Any = None) -> list[dict[str, Any]]:
        """All flows that are known, newest first."""
        runs = await self._app.service.runs(pipeline=NAME, state=state, limit=MOST)
        return [document.summary(run, self.flow(run)) for run in runs]

    async def find(self, id: str) -> Run:
        """A flow's run: by the run's id, or by the flow's own where it is at work. Raises
        NotFound."""
        try:
            run = await self._app.service.run(id)
        except NotFound:
            run = await self._working(id)
        if run is None or run.pipeline != NAME:
            raise NotFound(f"there is no flow {id!r} at work; GET /flows lists them")
        return run

    async def _working(self, id: str) -> Run | None:
        for state in LIVE:
            for run in await self._app.service.runs(pipeline=NAME, state=state, limit=MOST):
                if self.flow(run).id == id:
                    return run
        return None

    def flow(self, run: Run) -> Flow:
        """The document of a flow, as it is now."""
        return msgspec.json.decode(run.input, type=Flow)

    async def whole(self, id: str) -> dict[str, Any]:
        """A flow with all that is known of it."""
        run = await self.find(id)
        try:
            statistics = (await self._app.service.live(run.id)).statistics()
        except Conflict:  # not at work here, or not yet
            statistics = None
        return document.whole(run, self.flow(run), statistics)

    async def stop(self, id: str, reason: str) -> bool:
        """End a flow. False where it had ended."""
        run = await self.find(id)
        return await self._app.service.cancel(run.id, reason)

    # --- nodes ------------------------------------------------------------------------------

    async def act(self, id: str, node: str, action: Action) -> dict[str, Any]:
        """Pause, resume, stop or start one node; the others go on."""
        run = await self.find(id)
        self._check_node(self.flow(run), node)
        live = await self._app.service.live(run.id)
        await getattr(live, action)(node)
        return {"flow": self.flow(run).id, "run": run.id, "node": node, "state": ACTIONS[action]}

    async def configure(self, id: str, node: str, config: dict[str, Any]) -> Flow:
        """Give one node another config; the others go on undisturbed, and a restart keeps it.

        Raises FlowError, or Conflict where the config changes the node's ports.
        """
        run = await self.find(id)
        before = self.flow(run)
        self._check_node(before, node)
        after = before.with_config(node, config)
        old, new = (self._step(flow, node) for flow in (before, after))
        if old.ports != new.ports:
            raise Conflict(
                f"node {node!r} would have the ports {', '.join(new.ports)} instead of "
                f"{', '.join(old.ports)}; stop the flow and start it with this config"
            )
        live = await self._app.service.live(run.id)
        await live.configure(node, new.function)
        await self._app.service.amend(run.id, msgspec.json.encode(after))
        return after

    def _step(self, flow: Flow, node: str) -> Any:
        return pipeline_of(flow, self.types(), NAME, keep=self._keep).build().steps[node]

    def _check_node(self, flow: Flow, node: str) -> None:
        if flow.node(node) is None:
            known = ", ".join(each.id for each in flow.nodes)
            raise NotFound(f"flow {flow.id!r} has no node {node!r}; it has {known}")
