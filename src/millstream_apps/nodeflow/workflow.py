"""WorkflowEngine: flows inside of a program of your own, without a server.

The surface that workflow editors know (register an executor, execute a workflow, stop it), over
the same engine as everything else. `docs/nodeflow.md` has the names side by side.
"""

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from millstream import LiveRun, Millstream, NodeTypes, Run, Settings
from millstream_apps.nodeflow.executors import Execute, node_type
from millstream_apps.nodeflow.flows import Flows
from millstream_apps.nodeflow.settings import settings as chosen_settings
from millstream_apps.nodeflow.system import Nodeflow


class WorkflowEngine:
    """Runs workflows. Use it as `async with WorkflowEngine() as engine`, or `open` and `destroy`.

    Workflows are kept in `store` (a store's URL): with `memory://` they are gone with the process.
    """

    def __init__(self, store: str = "memory://", *, types: NodeTypes | None = None) -> None:
        self._nodeflow = Nodeflow(chosen_settings(), types)
        settings = Settings.load({"store": store, "drain": 0.0})  # they would not end by themselves
        self.app = Millstream(self._nodeflow.system, settings=settings)
        self._flows: Flows = self._nodeflow.flows(self.app)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.destroy()

    async def open(self) -> None:
        """Begin; workflows that the store has unfinished go on from here."""
        await self.app.open()

    async def destroy(self) -> None:
        """Hand unfinished workflows back to the store, and let go of everything."""
        await self.app.aclose()

    def register_node_executor(self, type: str, execute: Execute, *, doc: str = "") -> None:
        """Add a node type that is one function of a `NodeContext`. Raises PipelineError where
        there is a type of this name."""
        added = node_type(type, execute, doc=doc)
        self._nodeflow.types = NodeTypes([*self._nodeflow.types.values(), added])

    async def execute_workflow(self, workflow: Mapping[str, Any]) -> Run:
        """Start a workflow from its document. Raises FlowError with everything that is wrong with
        it, Conflict where one of its id is at work."""
        return await self._flows.start(msgspec.json.encode(workflow))

    async def stop_workflow(self, id: str, reason: str = "asked to") -> bool:
        """End a workflow, by its own id or by its run's. False where it had ended. Raises
        NotFound."""
        return await self._flows.stop(id, reason)

    async def get_stream_engine(self, id: str) -> LiveRun:
        """The streams of a workflow at work: statistics of every connection, taps, pause and
        resume. Raises NotFound, Conflict."""
        run = await self._flows.find(id)
        return await self.app.service.live(run.id)
