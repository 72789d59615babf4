"""Policies: frozen values given where a step is declared. Checked when made; act nowhere.

Durations are seconds. Imports the standard library, msgspec and `errors` alone.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from millstream.errors import PolicyError

ExecutorName = Literal["inline", "thread", "process"]
OnFull = Literal["block", "drop_oldest", "drop_newest", "drop_lowest", "latest"]
Publish = Literal["always", "watched", "never"]
MessageClass = Literal["ui-update", "data-flow", "control", "error"]

CLASSES: Final[dict[str, float]] = {
    "ui-update": 0.3,
    "data-flow": 0.7,
    "control": 0.9,
    "error": 1.0,
}
"""The classes of messages with their weights: what weighs less is dropped first."""


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
    """What may wait on each arrow into a step, and what happens when that is full.

    `size` counts messages. `on_full`: `"block"` stops the writer and loses nothing. The others
    are for live pipelines; they lose, and count and tell what they lost:
    `"drop_oldest"` makes room at the front, `"drop_newest"` turns the new message away,
    `"drop_lowest"` drops the lowest class first, `"latest"` keeps the newest message of each key.
    `priority` is a message's class (see `CLASSES`), or a function from its value to that; control
    and error are never dropped while something else waits. `key` is a function from a value to
    what it is a newer state of (for `"latest"`).

    `high` is the fill, 0 to 1, from which on the buffer counts as under pressure. `adaptive` lets
    the size move between 64 and 2,048 messages with the load. `batch` (messages) and `linger`
    (seconds since the first) are what a `Batch[...]` parameter waits for, whichever is first.
    """

    size: int = 1000
    on_full: OnFull = "block"
    high: float = 0.8
    batch: int = 50
    linger: float = 0.016
    key: Callable[[Any], Any] | None = None
    priority: MessageClass | Callable[[Any], MessageClass] = "data-flow"
    adaptive: bool = False

    def __post_init__(self) -> None:
        _require(self.size >= 1, f"Buffer(size={self.size}): at least 1")
        _require(
            self.on_full in get_args(OnFull),
            f"Buffer(on_full={self.on_full!r}): one of {', '.join(get_args(OnFull))}",
        )
        _require(0 < self.high <= 1, f"Buffer(high={self.high}): more than 0, up to 1")
        _require(self.batch >= 1, f"Buffer(batch={self.batch}): at least 1 message")
        _require(self.linger >= 0, f"Buffer(linger={self.linger}): seconds, 0 or more")
        _require(
            callable(self.priority) or self.priority in CLASSES,
            f"Buffer(priority={self.priority!r}): one of {', '.join(CLASSES)}, or a function",
        )
        _require(
            self.key is None or self.on_full == "latest",
            f"Buffer(key=...) says what is kept on_full='latest', not {self.on_full!r}",
        )

    @property
    def lossy(self) -> bool:
        """Whether messages may be lost on it."""
        return self.on_full != "block"


DURABLE_BUFFER: Final = Buffer(size=64)
"""Of an arrow where nothing is said, in a pipeline whose results are all kept."""

LIVE_BUFFER: Final = Buffer(size=1000)
"""Of an arrow where nothing is said, in a live pipeline."""


class Breaker(Struct, frozen=True):
    """Spare a step that keeps failing, and what it calls: after `failures` within `per` seconds
    it is not called for `open_for` seconds (its fallback serves, or its messages fail at once);
    then one call at a time tries whether it works again (Nygard, "Release It!", 2007)."""

    failures: int = 5
    per: float = 60.0
    open_for: float = 30.0

    def __post_init__(self) -> None:
        _require(self.failures >= 1, f"Breaker(failures={self.failures}): at least 1")
        _require(self.per > 0, f"Breaker(per={self.per}): seconds, more than 0")
        _require(self.open_for > 0, f"Breaker(open_for={self.open_for}): seconds, more than 0")


class Cache(Struct, frozen=True):
    """Keep a step's results, and use them again for the same arguments, in whatever run.

    A result counts for `ttl` seconds. At most `size` results, and `bytes` of them as JSON, are kept
    for the step; the oldest-used go first. `version` says which code made them: change it and none
    counts any more. Where it is None the function's own bytecode says so; what the function calls
    is not looked into. `key` is a function of some or all of the step's parameters, by name, whose
    value (anything with a JSON form) counts in the place of the arguments.
    """

    ttl: float = 3600.0
    size: int = 10_000
    bytes: int = 64 * 2**20
    version: str | None = None
    key: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        _require(self.ttl > 0, f"Cache(ttl={self.ttl}): seconds, more than 0")
        _require(self.size >= 1, f"Cache(size={self.size}): at least 1 result")
        _require(self.bytes >= 1, f"Cache(bytes={self.bytes}): at least 1 byte")


class Retain(Struct, frozen=True):
    """How much of a live pipeline's log is kept: its newest `events`, and those of the last
    `seconds`; where both are given an event goes as soon as one of them lets it go.

    Looked at as the log grows, not for each event: up to an eighth more may be there.
    """

    events: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        _require(
            self.events is not None or self.seconds is not None,
            "Retain(): say events=, seconds= or both",
        )
        _require(
            self.events is None or self.events >= 1,
            f"Retain(events={self.events}): 1 or more",
        )
        _require(
            self.seconds is None or self.seconds > 0,
            f"Retain(seconds={self.seconds}): more than 0",
        )


_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hour"), 3600),
    **dict.fromkeys(("d", "day"), 86_400),
}
_RATE: Final = re.compile(r"(\d+)\s*(?:/|per)\s*(\d+)?\s*([a-z]+?)s?")


class Rate(Struct, frozen=True):
    """So many requests in `per` seconds; with `burst`, so many at once, as long as the rate holds
    in the mean. As text, `"30/15min"`, `"10/s"`, `"600/minute"`: see `of`."""

    amount: int
    per: float = 1.0
    burst: int | None = None

    def __post_init__(self) -> None:
        _require(self.amount >= 1, f"Rate(amount={self.amount}): at least 1")
        _require(self.per > 0, f"Rate(per={self.per}): seconds, more than 0")
        _require(
            self.burst is None or self.burst >= 1,
            f"Rate(burst={self.burst}): at least 1",
        )

    @classmethod
    def of(cls, said: "Rate | str") -> "Rate":
        """A rate written as text. Raises PolicyError."""
        if isinstance(said, Rate):
            return said
        found = _RATE.fullmatch(said.strip().lower())
        unit = _UNITS.get(found[3]) if found else None
        if found is None or unit is None:
            raise PolicyError(f"rate {said!r}: write it as 30/15min, 10/s or 600/minute")
        return cls(int(found[1]), float(int(found[2] or 1) * unit))

    def window(self) -> tuple[int, int]:
        """The window that holds it: at most so many requests in so many whole seconds."""
        most = self.burst or self.amount
        seconds = max(1, math.ceil(most * self.per / self.amount))
        return max(most, int(self.amount * seconds / self.per)), seconds

    def __str__(self) -> str:
        burst = "" if self.burst is None else f", {self.burst} at once"
        return f"{self.amount} requests in {self.per:g} s{burst}"


class Processes(Struct, frozen=True):
    """A pool of processes for CPU work: `executor=Processes(workers=2, warm=load_models)`.

    Steps given equal values share one pool. `workers` None means one a core. `warm`, a function
    that can be imported by name, runs once in each process before its first call. Numeric libraries
    compute in one thread there, unless OMP_NUM_THREADS, OPENBLAS_NUM_THREADS or MKL_NUM_THREADS say
    otherwise.
    """

    workers: int | None = None
    warm: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        _require(
            self.workers is None or self.workers >= 1,
            f"Processes(workers={self.workers}): at least 1, or None for one a core",
        )
