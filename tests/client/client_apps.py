"""Pipelines whose pace a test controls: a step waits until a file of a given name is there.

Served in the test's own process, and by `millstream serve client_apps:app` in another.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from millstream import Context, Each, Millstream, Pipeline, Settings, StepError, Upload

count = Pipeline("count")


@dataclass
class Plan:
    """Count to `to`; wait for the file `folder/<n>` before each n of `gates`."""

    to: int = 3
    folder: str = ""
    gates: list[int] = field(default_factory=list)
    fail_at: int = -1


async def opened(gate: Path) -> None:
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - the test may be in another process
        await asyncio.sleep(0.005)


@count.step
async def number(plan: Plan, context: Context) -> AsyncIterator[int]:
    for n in range(plan.to):
        if n in plan.gates:
            await opened(Path(plan.folder) / str(n))
        if n == plan.fail_at:
            raise StepError(f"{n} is unlucky", code="unlucky", retryable=False)
        context.progress(n / plan.to, f"at {n}")
        yield n


@count.step
async def square(number: Each[int]) -> int:
    return number * number


@count.step
async def total(square: list[int]) -> int:
    return sum(square)


weigh = Pipeline("weigh")


@weigh.step
async def weight(pictures: Each[Upload]) -> dict:
    return {"name": pictures.filename, "size": pictures.size, "type": pictures.content_type}


compare = Pipeline("compare")


@dataclass
class Pair:
    left: Upload
    right: Upload
    note: str = ""
    factor: float = 1.0


@compare.step
async def heavier(pair: Pair) -> dict:
    side = "left" if pair.left.size * pair.factor > pair.right.size else "right"
    return {"side": side, "note": pair.note}


def make_app(**settings) -> Millstream:
    return Millstream(count, weigh, compare, settings=Settings.load(**settings))


app = make_app()
