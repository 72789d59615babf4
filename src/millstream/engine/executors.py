"""Executors: which executor a step runs in, one of each kind for the whole process."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from millstream.core.graph import Graph, Step
from millstream.engine.executor import Executor, Inline
from millstream.engine.processes import ProcessPool, check_importable
from millstream.engine.threads import Threads
from millstream.errors import PipelineError
from millstream.policy import Processes


class Executors:
    """Inline and threads are always there; a pool of processes for each `Processes` value that a
    pipeline names. `threads` is how many threads steps may use in all."""

    def __init__(
        self,
        graphs: Iterable[Graph],
        *,
        now: Callable[[], float],
        on_block: Callable[[str, float], None] | None = None,
        threads: int = 32,
    ) -> None:
        self._inline = Inline(now, on_block=on_block)
        self._threads = Threads(now, max_workers=threads)
        self._pools: dict[Processes, ProcessPool] = {}
        self._now = now
        for graph in graphs:
            self.add(graph)

    def add(self, graph: Graph) -> None:
        """See to it that there is a pool for every step of a graph. Raises PipelineError."""
        for step in graph.steps.values():
            self._add_pool(graph, step)

    def _add_pool(self, graph: Graph, step: Step) -> None:
        policy = _pool_of(step)
        if policy is None:
            return
        for function in (step.function, step.fallback):
            problem = check_importable(function) if function is not None else None
            if problem:
                raise PipelineError(
                    f"pipeline {graph.name!r}, step {step.name!r} runs in a process, which must "
                    f"import its function by name: {problem}"
                )
        if policy not in self._pools:
            self._pools[policy] = ProcessPool(policy, self._now)

    def of(self, step: Step) -> Executor:
        """Where this step runs."""
        policy = _pool_of(step)
        if policy is not None:
            return self._pools[policy]
        return self._inline if step.executor == "inline" else self._threads

    def workers(self, step: Step) -> int:
        """How many calls of this step its executor can run at a time."""
        policy = _pool_of(step)
        if policy is None:
            return 1
        return policy.workers or os.cpu_count() or 1

    async def prestart(self) -> None:
        """Start and warm every pool that has something to warm."""
        warm = [pool.prestart() for policy, pool in self._pools.items() if policy.warm]
        await asyncio.gather(*warm)

    def statistics(self) -> Mapping[str, Any]:
        """How each executor stands, by name."""
        pools = {f"processes-{n}": p.statistics() for n, p in enumerate(self._pools.values(), 1)}
        return {
            "inline": self._inline.statistics(),
            "threads": self._threads.statistics(),
            **pools,
        }

    async def aclose(self) -> None:
        """End threads and processes."""
        await asyncio.gather(
            self._threads.aclose(), *(pool.aclose() for pool in self._pools.values())
        )


def _pool_of(step: Step) -> Processes | None:
    if isinstance(step.executor, Processes):
        return step.executor
    return Processes() if step.executor == "process" else None
