"""Whether anybody else worked on our cores while we measured.

On a busy core a woken thread waits for a turn of the scheduler, some 4 ms: more than most of what
is measured here. Figures by the clock then say who was lucky. So each round notes how much of the
core others took, and a disturbed table is not published.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 0.05
"""From this share of the core on, a round counts as disturbed."""

_TICKS = os.sysconf("SC_CLK_TCK")


def core_busy_seconds(core: int) -> float:
    """How long a core has worked since it was started, for anybody (stolen time included)."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) / _TICKS
    return 0.0


class Watch:
    """Begins when made. `own` is the CPU seconds that the measured processes have used so far."""

    def __init__(self, core: int, own: Callable[[], float]) -> None:
        self._core, self._own_seconds = core, own
        self._began, self._busy, self._own = time.monotonic(), core_busy_seconds(core), own()

    def own(self) -> float:
        """CPU seconds of ours since it began."""
        return self._own_seconds() - self._own

    def others(self) -> float:
        """The share of the core that went to anybody else since it began."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        busy = core_busy_seconds(self._core) - self._busy
        return max(0.0, busy - self.own()) / elapsed
