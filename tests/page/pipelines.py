"""Pipelines for the page: each shows what the sample systems do not. Steps that must be caught at
work wait for a file in the folder that TEST_GATES names; nothing sleeps for a while and hopes.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from millstream import Context, Each, Millstream, Pipeline, Retry, StepError, Upload

GATES = Path(os.environ.get("TEST_GATES", "."))
HOSTILE = "<img src=x onerror='document.title=1'><script>document.title=2</script>"


async def gate(name: str) -> None:
    """Until the test opens it."""
    while not (GATES / name).exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.01)


words = Pipeline("words", doc="Words come one by one, each with its length.")


@words.step
async def word(text: str) -> AsyncIterator[str]:
    for at, each in enumerate(text.split()):
        if at == 2:
            await gate("words")
        yield each


@words.step
async def length(word: Each[str], context: Context) -> int:
    context.progress(0.5, f"counting {word}")
    context.emit("word.seen", {"word": word})  # a name that no EventSource was told of
    return len(word)


@words.step
async def total(length: list[int]) -> int:
    return sum(length)


class Order(BaseModel):
    """Every kind of field."""

    title: str = Field(description="What it is called.")
    copies: Annotated[int, Field(ge=1, le=9)] = 1
    ratio: float | None = None
    urgent: bool = False
    paper: Literal["plain", "glossy"] = "plain"
    tags: list[str] = []
    sizes: list[int] = []
    extra: dict[str, int] = {}


order = Pipeline("order", doc="A form with a field of every kind.")


@order.step
def receipt(order: Order) -> Order:
    return order


many = Pipeline("many", doc="As many events as one likes.")


@many.step
async def number(count: int) -> AsyncIterator[int]:
    for each in range(count):
        if each == count - 1:
            await gate("many")
        yield each


trouble = Pipeline("trouble", doc="Attempts that fail, a fallback, and a failure for good.")
_tried: set[str] = set()


@trouble.step(retry=Retry(attempts=3, base=0))
async def again(names: Each[str], context: Context) -> str:
    if names == "second" and context.attempt == 1:
        raise StepError("not yet", code="too_early")
    return names


async def plan_b(again: str) -> str:
    return f"{again}, in another way"


@trouble.step(fallback=plan_b)
async def best(again: str) -> str:
    if again == "third":
        raise StepError("the best way is closed", code="closed", retryable=False)
    return again


@trouble.step
async def verdict(best: list[str]) -> str:
    if "fourth" in best:
        raise StepError("there is no verdict for four", code="too_many", retryable=False)
    return " / ".join(best)


hostile = Pipeline("hostile", doc=f"Says {HOSTILE}.")


@hostile.step
async def told(files: Each[Upload], context: Context) -> dict[str, str]:
    context.progress(0.5, HOSTILE)
    context.emit(HOSTILE[:40], {HOSTILE: HOSTILE})
    if files.filename.startswith("bad"):
        raise StepError(HOSTILE, code=HOSTILE, retryable=False)
    return {"name": files.filename, HOSTILE: HOSTILE}


waiting = Pipeline("waiting", doc="Waits at a gate.")


@waiting.step(concurrency=16)
async def done(names: Each[str], context: Context) -> str:
    context.progress(0.25, "at the gate")
    await gate("waiting")
    return names


app = Millstream(words, order, many, trouble, hostile, waiting)
