"""What happens when a connection's readers cannot keep up: the handlers that there are.

A handler chooses the channel's policy, and may turn messages away before they get to it. What a
full channel then drops is the engine's decision (the lowest class first, control and error last).
"""

from collections.abc import Mapping
from typing import Any, Protocol

from millstream import Adapted, Buffer, PolicyError
from millstream_apps.nodeflow.streaming.messages import CLASSES, StreamConfig, StreamMessage

WEIGHTS: Mapping[str, float] = {"ui-update": 0.3, "data-flow": 0.7, "control": 0.9, "error": 1.0}
SPARED = ("control", "error")
"""Never turned away."""


class BackpressureHandler(Protocol):
    """What an engine asks. `fill` is how full the connection's buffer is, 0 to 1."""

    def buffer(self, config: StreamConfig) -> Buffer:
        """The policy of a connection's channel."""
        ...

    @property
    def max_wait_time(self) -> float:
        """Milliseconds that a writer waits for room before its message is turned away."""
        ...

    def on_backpressure(self, connection_id: str, fill: float) -> None:
        """A message comes while the buffer is filled above the connection's threshold."""
        ...

    def should_drop_message(self, message: StreamMessage, fill: float) -> bool:
        """Whether this one is to be turned away."""
        ...


def class_of(message: Any) -> Any:
    """A message's class, for the channel."""
    return message.kind


class DefaultBackpressureHandler:
    """From a fill of `drop_threshold` on, writers wait up to `max_wait_time` ms for room; then
    messages whose weight is below the fill are turned away (with `priority_drop`; else all data
    and ui-updates). Control and error never are. No chance in it."""

    def __init__(
        self, drop_threshold: float = 0.9, priority_drop: bool = True, max_wait_time: float = 100.0
    ) -> None:
        if not 0 < drop_threshold <= 1:
            raise PolicyError(f"drop_threshold={drop_threshold:g}: more than 0, up to 1")
        if max_wait_time < 0:
            raise PolicyError(f"max_wait_time={max_wait_time:g}: milliseconds, 0 or more")
        self.drop_threshold, self.priority_drop = drop_threshold, priority_drop
        self._max_wait_time = max_wait_time
        self._weights = dict(WEIGHTS)

    def buffer(self, config: StreamConfig) -> Buffer:
        """See BackpressureHandler."""
        return config.buffer(on_full="drop_lowest", priority=class_of)

    @property
    def max_wait_time(self) -> float:
        """See BackpressureHandler."""
        return self._max_wait_time

    def set_priority_weight(self, kind: str, weight: float) -> None:
        """Weigh a class anew, 0 to 1. Raises PolicyError."""
        if kind not in CLASSES or not 0 <= weight <= 1:
            raise PolicyError(f"weight {weight:g} of {kind!r}: 0 to 1, for {', '.join(CLASSES)}")
        self._weights[kind] = weight

    def on_backpressure(self, connection_id: str, fill: float) -> None:
        """See BackpressureHandler. Override it to be told."""

    def prioritize_message(self, message: StreamMessage) -> float:
        """A message's weight: its own `metadata.priority`, or that of its class."""
        own = message.metadata.get("priority")
        if isinstance(own, int | float) and not isinstance(own, bool) and 0 <= own <= 1:
            return float(own)
        return self._weights[message.kind]

    def should_drop_message(self, message: StreamMessage, fill: float) -> bool:
        """See BackpressureHandler."""
        if fill < self.drop_threshold or message.kind in SPARED:
            return False
        return not self.priority_drop or self.prioritize_message(message) < fill


class AdaptiveBackpressureHandler:
    """The channel follows the load by itself: its size moves between 64 and 2,048 messages; from a
    fill of its threshold (0.5 to 0.9) on, it turns a part of the new messages away (0.1 to 0.8,
    each class by its weight). Writers never wait."""

    def __init__(self, threshold: float = 0.8) -> None:
        if not 0.5 <= threshold <= 0.9:
            raise PolicyError(f"threshold={threshold:g}: from 0.5 to 0.9")
        self.threshold = threshold
        self.drop_rate = 0.1

    @property
    def max_wait_time(self) -> float:
        """See BackpressureHandler."""
        return 0.0

    def buffer(self, config: StreamConfig) -> Buffer:
        """See BackpressureHandler."""
        return config.buffer(on_full="drop_lowest", priority=class_of, adaptive=True)

    def on_backpressure(self, connection_id: str, fill: float) -> None:
        """See BackpressureHandler. Override it to be told."""

    def adapted(self, now: Adapted) -> None:
        """What the channel that was written to last goes by now."""
        self.threshold, self.drop_rate = now.threshold, now.rate

    def should_drop_message(self, message: StreamMessage, fill: float) -> bool:
        """Never: the channel itself decides."""
        return False
