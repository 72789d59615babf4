"""How an adaptive buffer follows its load: its size, and from where on it drops how much early.

Pure: what was seen goes in, what to do next comes out. No clock: the measure is operations.
"""

from collections.abc import Sequence

from msgspec import Struct

SMALLEST, LARGEST = 64, 2048
"""Messages: the bounds of an adaptive buffer's size."""

WINDOW = 50
"""Operations (puts) that one decision looks back on."""

GROW, SHRINK = 1.5, 0.75
"""By what the size is multiplied."""

CALM = 0.25
"""A mean fill below this, with nothing refused, lets the buffer shrink."""


class Adapted(Struct, frozen=True):
    """What an adaptive buffer goes by until the next decision.

    `size` in messages. From a fill of `threshold` (0.5 to 0.9) on, a lossy buffer turns away the
    part `rate` (0.1 to 0.8) of new messages early, each class by its weight: see `core.buffer`.
    """

    size: int
    threshold: float = 0.8
    rate: float = 0.1


def adapt(current: Adapted, fills: Sequence[float], refused: int, *, high: float) -> Adapted:
    """The next setting, after the last `WINDOW` operations.

    `fills` is how full the buffer was after each (messages waiting by size, 0 to 1); `refused` how
    many of the operations found no room (a writer was stopped, a message dropped). `high` is the
    policy's. The buffer grows by half when more than a tenth were refused or the mean fill is
    above `high`; it shrinks by a quarter when calm. Threshold and rate move linearly with the mean
    fill: the fuller, the earlier and the more is dropped.
    """
    load = sum(fills) / len(fills) if fills else 0.0
    size = current.size
    if refused > WINDOW // 10 or load > high:
        size = int(size * GROW)
    elif not refused and load < CALM:
        size = int(size * SHRINK)
    load = min(1.0, max(0.0, load))
    return Adapted(
        size=min(LARGEST, max(SMALLEST, size)),
        threshold=0.9 - 0.4 * load,
        rate=0.1 + 0.7 * load,
    )
