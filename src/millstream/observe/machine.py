"""What this process uses of the machine: measured, or not said at all.

Processor time is the process's own; memory is read with psutil where that is installed.
"""

import time
from pathlib import Path

from millstream.observe.debugger.snapshots import Machine

_LIMIT = Path("/sys/fs/cgroup/memory.max")


class MachineMeter:
    """Ask it again and again: `load` is that since it was last asked."""

    def __init__(self) -> None:
        self._busy, self._asked = time.process_time(), time.monotonic()
        self._limit: int | None = None

    def __call__(self) -> Machine:
        """Now."""
        busy, asked = time.process_time(), time.monotonic()
        passed = asked - self._asked
        load = (busy - self._busy) / passed if passed > 0 else None
        self._busy, self._asked = busy, asked
        held = self._held()
        if held is None or not self._limit:
            return Machine(load)
        return Machine(load, held / self._limit, held)

    def _held(self) -> int | None:
        """Bytes that the process holds in memory."""
        try:
            import psutil
        except ImportError:  # it comes with the extra `nodeflow`
            return None
        if self._limit is None:
            self._limit = min(psutil.virtual_memory().total, _allowed())
        return psutil.Process().memory_info().rss


def _allowed() -> int:
    """The bytes that the process's control group may have (Linux, cgroup v2: `memory.max`)."""
    try:
        said = _LIMIT.read_text().strip()
    except OSError:
        return 2**63
    return int(said) if said.isdigit() else 2**63
