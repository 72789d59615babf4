"""Prometheus metrics: what the engine tells, and what can be read off it when asked."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from millstream.engine.observer import Observer

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
        self._events = self._counter("events", "Events made durable")
        self._bytes = self._counter("event_bytes", "Bytes of events made durable")
        self._flushes = self._counter("flushes", "Appends to the store")
        self._blocks = self._counter("loop_blocked_seconds", "Event loop held by a step", "step")

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"millstream_{name}", help, labels, registry=self.registry)

    def run_created(self, pipeline: str) -> None:
        """See Observer."""
        self._created.labels(pipeline).inc()

    def run_ended(self, pipeline: str, state: str, seconds: float) -> None:
        """See Observer."""
        self._ended.labels(pipeline, state).observe(seconds)

    def step_ended(self, pipeline: str, step: str, outcome: str, seconds: float) -> None:
        """See Observer."""
        self._steps.labels(pipeline, step, outcome).observe(seconds)

    def flushed(self, events: int, size: int) -> None:
        """See Observer."""
        self._events.inc(events)
        self._bytes.inc(size)
        self._flushes.inc()

    def blocked(self, step: str, seconds: float) -> None:
        """See Observer."""
        self._blocks.labels(step).inc(seconds)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    """Figures that are read when somebody asks, never kept twice."""

    def __init__(self, read: Callable[[], dict[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(f"millstream_{name}", name.replace("_", " "), value=value)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()
