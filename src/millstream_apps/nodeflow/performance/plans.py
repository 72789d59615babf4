"""What a performance test is, and the five standard ones. Values, checked when they are made."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from millstream import InputError

Pattern = Literal["sequential", "random", "sine-wave", "step"]
Loss = Literal["block", "drop_oldest", "drop_newest", "drop_lowest"]


class Burst(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Beside the steady rate, `burst_size` messages at once, over all connections together, every
    `burst_interval` milliseconds."""

    enabled: bool = True
    burst_size: int = 100
    burst_interval: float = 1000.0


class Limits(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a test must keep to; None: not looked at.

    `loss`: the part of what was sent that was dropped. `p95`: milliseconds from send to receipt.
    `cpu`: per cent of one core. `memory`: how much the process may grow, in MiB. `rate`: the part
    of the planned messages that were sent.
    """

    loss: float | None = 0.0
    p95: float | None = None
    cpu: float | None = None
    memory: float | None = 256.0
    rate: float | None = 0.95


class PerformanceTest(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One test.

    `duration` in seconds; `message_rate` messages a second over all connections; `message_size`
    bytes of each one's payload; `sink_rate` how many a second each sink takes at most (None: as
    fast as it can). `on_full` is what a connection's buffer of `buffer_size` messages does.
    """

    name: str
    duration: float = 10.0
    message_rate: float = 100.0
    message_size: int = 256
    concurrent_connections: int = 1
    burst_mode: Burst | None = None
    data_pattern: Pattern = "sequential"
    buffer_size: int = 1000
    on_full: Loss = "block"
    sink_rate: float | None = None
    seed: int = 1
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        _within("duration", self.duration, 0.05, 86_400, "seconds")
        _within("messageRate", self.message_rate, 0.1, 1_000_000, "messages a second")
        _within("messageSize", self.message_size, 0, 1 << 20, "bytes")
        _within("concurrentConnections", self.concurrent_connections, 1, 1000, "connections")
        _within("bufferSize", self.buffer_size, 1, 1_000_000, "messages")
        if self.sink_rate is not None:
            _within("sinkRate", self.sink_rate, 0.1, 1_000_000, "messages a second")
        if self.burst is not None:
            _within("burstSize", self.burst.burst_size, 1, 1_000_000, "messages")
            _within("burstInterval", self.burst.burst_interval, 10, 3_600_000, "milliseconds")

    @property
    def burst(self) -> Burst | None:
        """The bursts; None where there are none."""
        found = self.burst_mode
        return found if found is not None and found.enabled else None

    @property
    def lossy(self) -> bool:
        """Whether its connections may lose messages."""
        return self.on_full != "block"

    def scaled(self, duration: float) -> "PerformanceTest":
        """The same for so many seconds."""
        return msgspec.structs.replace(self, duration=duration)


def _within(name: str, value: float, least: float, most: float, unit: str) -> None:
    if not least <= value <= most:
        said = f"{name}: {value:g} is not between {least:g} and {most:g} {unit}"
        raise InputError(said, errors=[{"field": name, "message": said}])


STANDARD_PERFORMANCE_TESTS = (
    PerformanceTest(
        "Low Volume Baseline",
        duration=30,
        message_rate=10,
        limits=Limits(p95=10, cpu=15),
    ),
    PerformanceTest(
        "Medium Volume Test",
        duration=60,
        message_rate=100,
        message_size=512,
        concurrent_connections=5,
        data_pattern="sine-wave",
        limits=Limits(p95=10, cpu=15),
    ),
    PerformanceTest(
        "High Volume Stress Test",
        duration=120,
        message_rate=1000,
        message_size=1024,
        concurrent_connections=10,
        data_pattern="random",
        limits=Limits(p95=10, cpu=15),
    ),
    PerformanceTest(
        "Burst Traffic Test",
        duration=60,
        message_rate=200,
        message_size=512,
        concurrent_connections=5,
        burst_mode=Burst(burst_size=1000, burst_interval=2000),
        data_pattern="step",
        limits=Limits(p95=50),
    ),
    PerformanceTest(
        "Extreme Load Test",
        duration=60,
        message_rate=50_000,
        message_size=1024,
        concurrent_connections=10,
        data_pattern="random",
        on_full="drop_oldest",
        sink_rate=2000,
        limits=Limits(loss=None, rate=None),
    ),
)
"""From a trickle to fifty times the stress test, on channels that lose what sinks cannot take."""


def read_plan(given: Mapping[str, Any]) -> PerformanceTest:
    """A test from JSON values, in the clients' names. Raises InputError naming the field."""
    try:
        return msgspec.convert(given, PerformanceTest)
    except msgspec.ValidationError as error:
        raise InputError(f"a performance test: {error}") from error


def standard(name: str) -> PerformanceTest:
    """A standard test by its name, or by the beginning of it. Raises InputError."""
    wanted = name.strip().casefold()
    found = [each for each in STANDARD_PERFORMANCE_TESTS if each.name.casefold().startswith(wanted)]
    if len(found) != 1 or not wanted:
        known = ", ".join(repr(each.name) for each in STANDARD_PERFORMANCE_TESTS)
        raise InputError(f"there is no standard test {name!r}; there are {known}")
    return found[0]
