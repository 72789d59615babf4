"""How late the event loop is: the one figure that tells whether something blocks it."""

import asyncio
from collections import deque

INTERVAL = 0.1
KEPT = 600  # beats: the last minute


class LagMeter:
    """Sets itself a timer again and again, and notes by how many seconds each came too late."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=KEPT)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        loop = asyncio.get_running_loop()
        self._set(loop, loop.time() + INTERVAL)

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._timer = loop.call_at(due, self._beat, loop, due)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._lags.append(max(0.0, now - due))
        self._set(loop, now + INTERVAL)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def worst(self) -> float:
        """The worst of the last minute, in seconds."""
        return max(self._lags, default=0.0)
