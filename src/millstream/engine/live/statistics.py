"""What is counted of a live run's arrows and steps, and how it is shown.

Counters are plain attributes that the data path adds to; `statistics()` makes frozen values.
"""

from typing import Literal

from msgspec import Struct

from millstream.core.latency import Latencies, Percentiles

StepState = Literal["running", "paused", "stopped", "ended", "failed"]


class EdgeStatistics(Struct, frozen=True):
    """One arrow at one moment: `sent == delivered + dropped + waiting`, always.

    `drops` counts what was lost, by cause and class. `fill` is waiting by size, 0 to 1; `stops`
    how often its writer had to wait, `pressed` after how many puts it was filled to the policy's
    `high` or more. `rate` is messages sent a second, over the last second or so. `latency` is
    from put to take, in seconds. A `fused` arrow has no buffer: its steps run as one call.
    """

    id: str
    source: str
    port: str
    target: str
    parameter: str
    sent: int = 0
    delivered: int = 0
    dropped: int = 0
    waiting: int = 0
    size: int = 0
    fill: float = 0.0
    stops: int = 0
    pressed: int = 0
    rate: float = 0.0
    drops: dict[str, dict[str, int]] = {}
    latency: Percentiles = Percentiles()
    fused: bool = False
    closed: bool = False


class StepStatistics(Struct, frozen=True):
    """One step at one moment.

    `made` counts its values, `filtered` the messages it gave NOTHING for, `failed` those it
    failed at for good, `unmatched` those let go since a partner of a join never came, `retries`
    and `restarts` further tries, `fallbacks` values made by its fallback, `published` values
    logged. `seconds` is the time of single calls (sampled where steps are fused). `segment`
    numbers the steps that run as one call; None: on its own.
    """

    name: str
    kind: str
    state: StepState
    made: int = 0
    filtered: int = 0
    failed: int = 0
    unmatched: int = 0
    retries: int = 0
    restarts: int = 0
    fallbacks: int = 0
    published: int = 0
    rate: float = 0.0
    degraded: bool = False
    segment: int | None = None
    seconds: Percentiles = Percentiles()


class LiveStatistics(Struct, frozen=True):
    """A live run at one moment (`time`: seconds since the epoch)."""

    time: float
    steps: dict[str, StepStatistics]
    edges: dict[str, EdgeStatistics]


class Meter:
    """Messages a second, over the last whole second or so."""

    __slots__ = ("_began", "_count", "_rate")

    def __init__(self, now: float) -> None:
        self._began, self._count, self._rate = now, 0, 0.0

    def note(self, total: int, now: float) -> None:
        """So many in all by now."""
        if now - self._began >= 1.0:
            self._rate = (total - self._count) / (now - self._began)
            self._began, self._count = now, total

    def rate(self, total: int, now: float) -> float:
        """By now."""
        self.note(total, now)
        return self._rate


class Gauge:
    """The counters of one arrow."""

    __slots__ = (
        "delivered",
        "drops",
        "latencies",
        "meter",
        "pressed",
        "sent",
        "stops",
        "told",
    )

    def __init__(self, now: float) -> None:
        self.sent = self.delivered = self.stops = self.pressed = 0
        self.drops: dict[tuple[str, str], int] = {}
        self.told: dict[tuple[str, str], int] = {}
        """The drops that `flow.dropped` events have told of."""
        self.latencies = Latencies()
        self.meter = Meter(now)

    @property
    def dropped(self) -> int:
        """In all."""
        return sum(self.drops.values())

    def drop(self, cause: str, kind: str, count: int = 1) -> None:
        """So many messages of a class were lost."""
        self.drops[cause, kind] = self.drops.get((cause, kind), 0) + count

    def untold(self) -> dict[tuple[str, str], int]:
        """The drops since this was last asked, by cause and class."""
        new = {key: count - self.told.get(key, 0) for key, count in self.drops.items()}
        self.told = dict(self.drops)
        return {key: count for key, count in new.items() if count}

    def by_cause(self) -> dict[str, dict[str, int]]:
        """The drops, as shown."""
        shown: dict[str, dict[str, int]] = {}
        for (cause, kind), count in self.drops.items():
            shown.setdefault(cause, {})[kind] = count
        return shown


class Counts:
    """The counters of one step. Whoever runs the step just now adds to them."""

    __slots__ = (
        "degraded",
        "failed",
        "fallbacks",
        "filtered",
        "kind",
        "made",
        "meter",
        "name",
        "published",
        "restarts",
        "retries",
        "seconds",
        "segment",
        "state",
        "unmatched",
    )

    def __init__(self, name: str, kind: str, now: float) -> None:
        self.name, self.kind = name, kind
        self.state: StepState = "running"
        self.made = self.filtered = self.failed = self.unmatched = 0
        self.retries = self.restarts = self.fallbacks = self.published = 0
        self.degraded = False
        self.segment: int | None = None
        self.seconds = Latencies()
        self.meter = Meter(now)

    def statistics(self, now: float) -> StepStatistics:
        """The step now."""
        return StepStatistics(
            name=self.name,
            kind=self.kind,
            state=self.state,
            made=self.made,
            filtered=self.filtered,
            failed=self.failed,
            unmatched=self.unmatched,
            retries=self.retries,
            restarts=self.restarts,
            fallbacks=self.fallbacks,
            published=self.published,
            rate=self.meter.rate(self.made, now),
            degraded=self.degraded,
            segment=self.segment,
            seconds=self.seconds.percentiles(),
        )
