"""What a server does during the window that the load client measures."""

import time
from typing import Any

from bench.client import Load
from bench.contest import Figures
from bench.machine import SERVER_CORE
from bench.noise import Watch
from bench.server import Server


def watched(load: Load, server: Server) -> Figures:
    """CPU of the server, and what others took of its core, from "window" to "over"."""
    load.wait("window")
    began, watch = time.monotonic(), Watch(SERVER_CORE, server.cpu_seconds)
    load.wait("over")
    others, cpu, seconds = watch.others(), watch.own(), time.monotonic() - began
    return {
        "cpu_seconds": cpu,
        "window_seconds": seconds,
        "cpu_share": cpu / seconds,
        "others_share": others,
    }


def figures(seen: Figures, told: dict[str, Any], wanted: float) -> Figures:
    """Of one measured window: `seen` by `watched`, `told` by the load client; `wanted` is the
    number of events that should have come."""
    events, seconds = told["window_events"], seen["window_seconds"]
    latencies = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_max_ms")
    return {
        **seen,
        **{name: told[name] for name in latencies},
        "events": told["events"],
        "events_per_second": events / seconds,
        "events_per_cpu_second": events / max(seen["cpu_seconds"], 1e-6),
        "delivered_share": events / wanted,
        "load_share": told["window_load_cpu_seconds"] / seconds,
    }
