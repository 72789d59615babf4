"""Prometheus metrics: what the engine tells, and what can be read off it when asked."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from millstream.engine.observer import Observer
from millstream.observe.debugger.debuggers import Debuggers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics(Observer):
    """A registry of its own for each application, so that two in one process do not clash."""

    def __init__(self, gauges: Callable[[], dict[str, float]]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Gauges(gauges))
        self._created: dict[str, int] = {}
        self._ended = _Seconds(
            "run_seconds", "From acceptance to the end of a run", ("pipeline", "state")
        )
        self._steps = _Seconds(
            "step_seconds",
            "One step for one item, all attempts together",
            ("pipeline", "step", "outcome"),
        )
        self._flushed = [0, 0, 0]
        for collector in (
            _Created(self._created),
            self._ended,
            self._steps,
            _Flushes(self._flushed),
        ):
            self.registry.register(collector)
        self._blocks = Counter(
            "millstream_loop_blocked_seconds",
            "Event loop held by a step",
            ("step",),
            registry=self.registry,
        )

    def run_created(self, pipeline: str) -> None:
        """See Observer."""
        self._created[pipeline] = self._created.get(pipeline, 0) + 1

    def run_ended(self, pipeline: str, state: str, seconds: float) -> None:
        """See Observer."""
        self._ended.observe((pipeline, state), seconds)

    def step_ended(self, pipeline: str, step: str, outcome: str, seconds: float) -> None:
        """See Observer."""
        self._steps.observe((pipeline, step, outcome), seconds)

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


class _Created(Collector):
    """Runs accepted, by pipeline."""

    def __init__(self, told: Mapping[str, int]) -> None:
        self._told = told

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(
            "millstream_runs_created", "Runs accepted", labels=("pipeline",)
        )
        for pipeline, count in self._told.items():
            family.add_metric((pipeline,), count)
        yield family

    def describe(self) -> Iterable[CounterMetricFamily]:
        return ()


class _Seconds(Collector):
    """A histogram of durations, in plain lists: every run and every call is told here, and the
    library's own takes twice as long. Of the event loop alone, so that nothing is locked."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...]) -> None:
        self._name, self._help, self._labels = f"millstream_{name}", help, labels
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        """One duration more."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(_SECONDS) + 1)
        counts[bisect_left(_SECONDS, seconds)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
        for labels, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric(labels, buckets=buckets, sum_value=self._sums[labels])
        yield family

    def describe(self) -> Iterable[HistogramMetricFamily]:
        return ()


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
