"""Steps that yield any number of values per message, as one long call that reads a Stream.

A message at which it fails leaves the others alone; what it had yielded before stands.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from millstream.annotations import Stream
from millstream.engine.live.failures import plain
from millstream.errors import StepError


def expanding(
    function: Callable[..., Any],
    arguments: Callable[[Any], dict[str, Any]],
    fail: Callable[[StepError], None],
    *,
    thread: bool,
) -> Callable[..., Any]:
    """A function of `messages` that yields what `function` yields for each of them."""

    async def inline(messages: Stream[Any]) -> AsyncIterator[Any]:
        async for row in messages:
            try:
                values = function(**arguments(row))
                if hasattr(values, "__aiter__"):
                    async for value in values:
                        yield value
                else:
                    for value in values:
                        yield value
            except Exception as error:
                fail(plain(error))

    loop = asyncio.get_running_loop()

    def threaded(messages: Stream[Any]) -> Iterator[Any]:
        for row in messages:
            try:
                yield from function(**arguments(row))
            except Exception as error:
                loop.call_soon_threadsafe(fail, plain(error))

    return threaded if thread else inline
