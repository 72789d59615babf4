"""Prometheus metrics: what the engine tells, and what can be read off it when asked."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from millstream.engine.observer import Observer
from millstream.observe.debugger.debuggers import Debuggers

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

    def watch(self, debuggers: Debuggers) -> None:
        """Tell of live runs and their alerts, too."""
        self.registry.register(_Live(debuggers))

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


class _Live(Collector):
    """The connections of live runs, as the newest snapshots have them, and their alerts."""

    COUNTED = (
        ("sent", "total_messages", "Messages sent by a connection of a live run"),
        ("delivered", "delivered_messages", "Messages taken from it"),
        ("dropped", "dropped_messages", "Messages lost on it"),
    )
    MEASURED = (
        ("waiting", "waiting_messages", "Messages that wait on it"),
        ("fill", "buffer_utilization", "How full it is, 0 to 1"),
        ("rate", "messages_per_second", "Messages a second"),
        ("error_rate", "error_rate", "The part of its messages that its reader fails at"),
    )
    LABELS = ("run", "connection")

    def __init__(self, debuggers: Debuggers) -> None:
        self._debuggers = debuggers

    def collect(self) -> Iterable[Metric]:
        counters = [
            (field, CounterMetricFamily(f"millstream_live_{name}", help, labels=self.LABELS))
            for name, field, help in self.COUNTED
        ]
        gauges = [
            (field, GaugeMetricFamily(f"millstream_live_{name}", help, labels=self.LABELS))
            for name, field, help in self.MEASURED
        ]
        latency = GaugeMetricFamily(
            "millstream_live_latency_seconds",
            "From put to take, of the last second",
            labels=(*self.LABELS, "quantile"),
        )
        found = self._debuggers.all()
        for debugger in found:
            for each in debugger.newest.connections if debugger.newest else ():
                at = [debugger.run, each.id]
                for field, family in (*counters, *gauges):
                    family.add_metric(at, getattr(each.metrics, field))
                for quantile, field in (("0.5", "p50_latency"), ("0.95", "p95_latency")):
                    latency.add_metric([*at, quantile], getattr(each.metrics, field) / 1000)
        yield GaugeMetricFamily("millstream_live_runs", "Live runs at work here", value=len(found))
        yield from (family for _, family in (*counters, *gauges))
        yield latency
        yield from self._alerts()

    def _alerts(self) -> Iterable[Metric]:
        open = GaugeMetricFamily(
            "millstream_live_alerts",
            "Alerts that are open",
            labels=("run", "connection", "type", "severity"),
        )
        for debugger in self._debuggers.all():
            for alert in debugger.open.values():
                where = alert.connection_id or ""
                open.add_metric([debugger.run, where, alert.type, alert.severity], 1)
        fired = CounterMetricFamily(
            "millstream_live_alerts_fired", "Alerts that have fired", labels=("type", "severity")
        )
        for kind, count in self._debuggers.fired().items():
            fired.add_metric(list(kind), count)
        yield from (open, fired)

    def describe(self) -> Iterable[Metric]:
        return ()
