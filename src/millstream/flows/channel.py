"""The config of an edge, in the names that flow editors use, and the policies that it stands for.

`{bufferSize 1000, batchTimeout 16 ms, maxBatchSize 50, backpressureThreshold 0.8, retryAttempts 3,
retryDelay 100 ms}`, and beyond those `onFull`, `key`, `priority` and `adaptive`. What an edge does
not say is left to the node that reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from millstream.policy import Buffer, MessageClass, OnFull, Retry

_Count = Annotated[int, Meta(ge=1, le=1_000_000)]
_Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]


class ChannelConfig(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An edge's config. Times are in milliseconds; None is what was not said.

    `retry_attempts` is how often a message that fails is tried again. `key` is the field of a
    message that says what it is a newer state of, for `on_full` "latest". `priority` is the class
    of all messages on the edge.
    """

    buffer_size: _Count | None = None
    batch_timeout: _Milliseconds | None = None
    max_batch_size: _Count | None = None
    backpressure_threshold: Annotated[float, Meta(gt=0, le=1)] | None = None
    retry_attempts: Annotated[int, Meta(ge=0, le=100)] | None = None
    retry_delay: _Milliseconds | None = None
    on_full: OnFull | None = None
    adaptive: bool | None = None
    key: Annotated[str, Meta(min_length=1)] | None = None
    priority: MessageClass | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.on_full != "latest":
            raise ValueError("key: it is for onFull 'latest', which keeps the newest of each key")

    def buffer(self, default: Buffer) -> Buffer:
        """The channel's buffer: `default`, changed where the config says so."""
        said = {
            "size": self.buffer_size,
            "linger": None if self.batch_timeout is None else self.batch_timeout / 1000,
            "batch": self.max_batch_size,
            "high": self.backpressure_threshold,
            "on_full": self.on_full,
            "adaptive": self.adaptive,
            "key": None if self.key is None else FieldKey(self.key),
            "priority": self.priority,
        }
        changes = {name: value for name, value in said.items() if value is not None}
        return msgspec.structs.replace(default, **changes) if changes else default

    def retry(self) -> Retry | None:
        """How the node that reads the edge tries again; None where nothing is said of it."""
        if self.retry_attempts is None and self.retry_delay is None:
            return None
        again = 3 if self.retry_attempts is None else self.retry_attempts
        delay = 100.0 if self.retry_delay is None else self.retry_delay
        return Retry(attempts=again + 1, base=delay / 1000)


@dataclass(frozen=True, slots=True)
class FieldKey:
    """A message's key: one of its fields; None where it has no such field."""

    field: str

    def __call__(self, value: Any) -> Any:
        """The key. A field that is no plain value counts by its text."""
        found = value.get(self.field) if isinstance(value, Mapping) else None
        return found if found is None or isinstance(found, str | int | float) else repr(found)


def channel_config(config: Mapping[str, Any]) -> ChannelConfig:
    """An edge's config as its model. Raises msgspec.ValidationError."""
    return msgspec.convert(dict(config), ChannelConfig)
