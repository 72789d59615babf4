"""The README's pipeline: words come one by one, and their lengths as soon as each word is there."""

import asyncio
from collections.abc import AsyncIterator

from millstream import Each, Millstream, Pipeline

hello = Pipeline("hello")


@hello.step
async def words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        await asyncio.sleep(0.5)
        yield word


@hello.step
async def length(words: Each[str]) -> int:
    return len(words)


@hello.step
async def total(length: list[int]) -> int:
    return sum(length)


app = Millstream(hello)
