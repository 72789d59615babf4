"""Streams by hand: connections between nodes of a program's own, in the names that clients of
stream engines know. A thin layer over the engine's channels; `docs/nodeflow.md` has the names.
"""

from millstream_apps.nodeflow.streaming.backpressure import (
    AdaptiveBackpressureHandler,
    BackpressureHandler,
    DefaultBackpressureHandler,
)
from millstream_apps.nodeflow.streaming.connection import Connection, MessageBatch
from millstream_apps.nodeflow.streaming.debugger import StreamDebugger
from millstream_apps.nodeflow.streaming.engine import StreamEngine
from millstream_apps.nodeflow.streaming.messages import StreamConfig, StreamMessage, StreamMetrics
from millstream_apps.nodeflow.streaming.recovery import (
    CircuitOpen,
    DefaultErrorRecovery,
    ErrorRecovery,
    GracefulErrorRecovery,
)

__all__ = [
    "AdaptiveBackpressureHandler",
    "BackpressureHandler",
    "CircuitOpen",
    "Connection",
    "DefaultBackpressureHandler",
    "DefaultErrorRecovery",
    "ErrorRecovery",
    "GracefulErrorRecovery",
    "MessageBatch",
    "StreamConfig",
    "StreamDebugger",
    "StreamEngine",
    "StreamMessage",
    "StreamMetrics",
]
