"""The highest rate of a grid that a server holds, by bisection."""

from collections.abc import Callable, Sequence

from bench.contest import Figures
from bench.machine import SERVER_CORE
from bench.noise import Watch
from bench.server import Server


def held(
    server: Server,
    grid: Sequence[float],
    at: Callable[[float], Figures],
    holds: Callable[[Figures], bool],
) -> Figures:
    """The figures at the highest rate that it holds ("held" is 0 where there is none)."""
    watch = Watch(SERVER_CORE, server.cpu_seconds)
    return highest(grid, at, holds) or {"held": 0.0, "others_share": watch.others()}


def highest(
    grid: Sequence[float],
    at: Callable[[float], Figures],
    holds: Callable[[Figures], bool],
) -> Figures | None:
    """The figures at the highest rate that holds; None where not even the lowest does. Measures
    log2 of the grid's length times: who holds a rate is taken to hold all below it."""
    low, high = 0, len(grid)  # the first `low` are held; `high` and above are not
    best: Figures | None = None
    while low < high:
        middle = (low + high) // 2
        found = at(grid[middle])
        if holds(found):
            best, low = found, middle + 1
        else:
            high = middle
    return best
