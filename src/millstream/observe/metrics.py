"""Prometheus metrics: what the engine tells, and what can be read off it when asked."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from millstream.engine.observer import Observer

_M = TypeVar("_M", Counter, Histogram)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics(Observer):
    """A registry of its own for each application, so that two in one process do not clash."""

    def __init__(self, gauges: Callable[[], dict[str, float]]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Gauges(gauges))
        self._created = self._counter("runs_created", "Runs accepted", "pipeline")
        self._ended = Histogram(
            "millstream_run_seconds",
            "From acceptance to the end of a run",
            ("pipeline", "state"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "millstream_step_seconds",
            "One step for one item, all attempts together",
            ("pipeline", "step", "outcome"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._flushed = [0, 0, 0]
        self.registry.register(_Flushes(self._flushed))
        self._blocks = self._counter("loop_blocked_seconds", "Event loop held by a step", "step")

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"millstream_{name}", help, labels, registry=self.registry)

    @staticmethod
    @lru_cache(maxsize=1024)
    def _label(metric: _M, *labels: str) -> _M:
        """A metric's child, which finding takes longer than using."""
        return metric.labels(*labels)

    def run_created(self, pipeline: str) -> None:
        """See Observer."""
        self._label(self._created, pipeline).inc()

    def run_ended(self, pipeline: str, state: str, seconds: float) -> None:
        """See Observer."""
        self._label(self._ended, pipeline, state).observe(seconds)

    def step_ended(self, pipeline: str, step: str, outcome: str, seconds: float) -> None:
        """See Observer."""
        self._label(self._steps, pipeline, step, outcome).observe(seconds)

    def flushed(self, events: int, size: int) -> None:
        """See Observer."""
        told = self._flushed  # plain numbers: this is told with every flush
        told[0] += events
        told[1] += size
        told[2] += 1

    def blocked(self, step: str, seconds: float) -> None:
        """See Observer."""
        self._blocks.labels(step).inc(seconds)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


class _Flushes(Collector):
    """What the journals have made durable: events, bytes, appends."""

    NAMES = (
        ("events", "Events made durable"),
        ("event_bytes", "Bytes of events made durable"),
        ("flushes", "Appends to the store"),
    )

    def __init__(self, told: Sequence[int]) -> None:
        self._told = told

    def collect(self) -> Iterable[CounterMetricFamily]:
        for (name, help), value in zip(self.NAMES, self._told, strict=True):
            yield CounterMetricFamily(f"millstream_{name}", help, value=value)

    def describe(self) -> Iterable[CounterMetricFamily]:
        return ()


class _Gauges(Collector):
    """Figures that are read when somebody asks, never kept twice."""

    def __init__(self, read: Callable[[], dict[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(f"millstream_{name}", name.replace("_", " "), value=value)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()
