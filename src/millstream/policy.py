"""Policies: frozen values given where a step is declared. Checked when made; act nowhere.

Durations are seconds. Imports the standard library, msgspec and `errors` alone.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from millstream.errors import PolicyError

ExecutorName = Literal["inline", "thread", "process"]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise PolicyError(what)


class Retry(Struct, frozen=True):
    """Try again when an attempt fails with a retryable error.

    Before attempt n + 1 there is a pause of up to `min(cap, base * factor ** (n - 1))` seconds;
    `jitter` is the part of it that is drawn by chance (1.0: "full jitter", uniform from 0).
    The budget keeps retries from storming when everything fails: all runs of a step together may
    retry `reserve` times, plus `budget` times for every call (Finagle's RetryBudget has this form).
    `on` limits which exceptions count; errors that say `retryable = False` never do.
    """

    attempts: int = 3
    base: float = 0.1
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 1.0
    budget: float = 0.2
    reserve: float = 10.0
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        _require(self.attempts >= 1, f"Retry(attempts={self.attempts}): at least 1")
        _require(self.base >= 0 and self.cap >= 0, "Retry: base and cap are seconds, 0 or more")
        _require(self.factor >= 1, f"Retry(factor={self.factor}): at least 1")
        _require(0 <= self.jitter <= 1, f"Retry(jitter={self.jitter}): from 0 to 1")
        _require(self.budget >= 0 and self.reserve >= 0, "Retry: budget and reserve: 0 or more")


class Buffer(Struct, frozen=True):
    """How many messages may wait on each arrow into a step. A full buffer stops its writer."""

    size: int = 64

    def __post_init__(self) -> None:
        _require(self.size >= 1, f"Buffer(size={self.size}): at least 1")


class Processes(Struct, frozen=True):
    """A pool of processes for CPU work: `executor=Processes(workers=2, warm=load_models)`.

    Steps given equal values share one pool. `workers` None means one a core. `warm`, a function
    that can be imported by name, runs once in each process before its first call.
    """

    workers: int | None = None
    warm: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        _require(
            self.workers is None or self.workers >= 1,
            f"Processes(workers={self.workers}): at least 1, or None for one a core",
        )
