"""Turns: how much work begins in one turn of the event loop.

A request's first line must not wait until hundreds of fetches that others asked for have set off:
each costs the loop a good part of a millisecond. So they set off a few at a time, and between them
the loop hears of new requests. Knows nothing of what is begun.
"""

import asyncio
from collections import OrderedDict, deque


class Turns:
    """A queue for each of those who ask (a run, say); they take turns, so that one who asks for a
    hundred holds up nobody. `each` begin in one turn of the loop."""

    def __init__(self, each: int = 2) -> None:
        self._each = each
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._going = False

    async def take(self, who: str) -> None:
        """Wait for a turn."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queues.setdefault(who, deque()).append(turn)
        if not self._going:
            self._going = True
            loop.call_soon(self._next, loop)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        begun = 0
        while self._queues and begun < self._each:
            who, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[who] = queue
            if not turn.done():  # who left while waiting is passed over
                turn.set_result(None)
                begun += 1
        self._going = bool(self._queues)
        if self._going:
            loop.call_soon(self._next, loop)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __repr__(self) -> str:
        return f"<Turns, {len(self)} waiting for theirs>"
