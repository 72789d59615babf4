"""Nodes, called as the engine calls them, on a virtual clock."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from millstream import Outgoing
from millstream.testing.clock import EPOCH, run_virtual, virtual_now
from millstream_apps.nodeflow.nodes.base import Tools
from millstream_apps.nodeflow.nodes.library import library

Arrivals = Iterable[tuple[float, Any]]


def made(kind: str, config: Mapping[str, Any], **tools: Any) -> Any:
    """A node's function, from its JSON config."""
    types = library(Tools(now=virtual_now, **tools))
    found = types.find(kind)
    return found.make(found.configured(config))


async def at(arrivals: Arrivals, end: float = 0.0) -> AsyncIterator[Any]:
    """A stream whose values come at given seconds; it ends so many seconds after the last."""
    clock = asyncio.get_running_loop().time
    for moment, value in arrivals:
        await asyncio.sleep(max(0.0, moment - clock()))
        yield value
    await asyncio.sleep(end)


async def timed(stream: AsyncIterator[Any], most: int | None = None) -> list[tuple[float, Any]]:
    """What a stream gives, each with its second; at most so many."""
    clock = asyncio.get_running_loop().time
    found: list[tuple[float, Any]] = []
    async for value in stream:
        found.append((round(clock(), 6), value))
        if len(found) == most:
            break
    closing = getattr(stream, "aclose", None)
    if closing is not None:
        await closing()
    return found


def source(kind: str, config: Mapping[str, Any], most: int | None = None, **tools: Any) -> Any:
    """What a source gives, by second."""

    async def main() -> Any:
        return await timed(made(kind, config, **tools)(), most)

    return run_virtual(main())


def transformed(kind: str, config: Mapping[str, Any], arrivals: Arrivals, end: float = 0.0) -> Any:
    """What a node that reads a Stream makes of arrivals, by second."""

    async def main() -> Any:
        return await timed(made(kind, config)(at(arrivals, end)))

    return run_virtual(main())


def called(
    kind: str, config: Mapping[str, Any], arrivals: Arrivals, parameter: str = "input"
) -> list[tuple[float, Any]]:
    """What a node that is called once per message gives, by second."""

    async def main() -> Any:
        function = made(kind, config)
        clock = asyncio.get_running_loop().time
        found: list[tuple[float, Any]] = []
        async for value in at(arrivals):
            given = function(**{parameter: value})
            told = list(given) if inspect.isgenerator(given) else [given]
            found += [(round(clock(), 6), each) for each in told]
        return found

    return run_virtual(main())


def values(told: Iterable[tuple[float, Any]]) -> list[Any]:
    return [value for _, value in told]


def seconds(told: Iterable[tuple[float, Any]]) -> list[float]:
    return [moment for moment, _ in told]


__all__ = [
    "EPOCH", "Outgoing", "Path", "called", "made", "seconds", "source", "timed", "transformed",
    "values",
]  # fmt: skip
