"""Node executors: nodes that are one function of a context, as workflow engines know them.

`execute(context)` is called once for each message that comes by any of the node's ports, and once
in all where the node has none (a source). Ports are those that the node itself names, or else
those that edges use.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from millstream import Each, In, NodeType, Out, Site, StepError

Execute = Callable[["NodeContext"], Awaitable[object] | object]


@dataclass
class NodeContext:
    """What an executor gets. `inputs` has the newest message of every port that one has come by;
    `port` is where the one came that this call is about (None in a source)."""

    workflow_id: str
    node_id: str
    inputs: Mapping[str, Any]
    config: Mapping[str, Any]
    port: str | None = None
    _emit: Callable[[Out[Any]], Awaitable[None]] | None = field(default=None, repr=False)

    async def emit_output(self, port: str, data: Any) -> None:
        """Send a message out of a port. Waits while nobody makes room for it."""
        assert self._emit is not None, "only the engine makes contexts"
        await self._emit(Out(port, data))

    def emit_error(self, error: Exception | str) -> None:
        """This message has failed: it is counted and told; the node goes on with the next."""
        if isinstance(error, StepError):
            raise error
        raise StepError(str(error), code="node_error", retryable=False)


def node_type(name: str, execute: Execute, *, doc: str = "") -> NodeType:
    """The node type that an executor stands for. Its config may be any object."""

    def make(config: dict[str, Any], site: Site) -> Callable[..., Any]:
        return _source(execute, config, site) if not site.inputs else _step(execute, config, site)

    said = inspect.cleandoc(doc or execute.__doc__ or "")
    return NodeType(name, make, config=dict[str, Any], doc=said, ports_of_node=True)


def _source(execute: Execute, config: dict[str, Any], site: Site) -> Callable[..., Any]:
    async def source() -> AsyncIterator[Any]:
        async for out in _emitted(execute, NodeContext(site.flow, site.node, {}, config), site):
            yield out

    return source


def _step(execute: Execute, config: dict[str, Any], site: Site) -> Callable[..., Any]:
    inputs: dict[str, Any] = {}

    async def step(inbox: Each[In[Any]]) -> AsyncIterator[Any]:
        inputs[inbox.port] = inbox.value
        context = NodeContext(site.flow, site.node, dict(inputs), config, inbox.port)
        async for out in _emitted(execute, context, site):
            yield out

    return step


async def _emitted(execute: Execute, context: NodeContext, site: Site) -> AsyncIterator[Any]:
    """What a call emits, while it goes on: it waits at each message until that is taken."""
    room: asyncio.Queue[Out[Any]] = asyncio.Queue(1)
    bare = site.outputs == ("out",)

    async def emit(out: Out[Any]) -> None:
        port = "out" if bare and out.port == "output" else out.port
        if port not in site.outputs:
            known = ", ".join(site.outputs)
            told = f"node {site.node!r} has no output port {port!r}; it has {known}"
            raise StepError(f"{told}: name it in its `outputs`", code="no_port", retryable=False)
        await room.put(Out(port, out.value))

    context._emit = emit
    call = asyncio.ensure_future(_call(execute, context))
    try:
        while not (call.done() and room.empty()):
            waiting = asyncio.ensure_future(room.get())
            await asyncio.wait([waiting, call], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                continue
            out = waiting.result()
            yield out.value if bare else out
        call.result()
    finally:
        call.cancel()
        await asyncio.wait([call])


async def _call(execute: Execute, context: NodeContext) -> None:
    told = execute(context)
    if inspect.isawaitable(told):
        await told
