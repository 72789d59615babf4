"""Join by key: what comes on the left meets what comes on the right. Bounded in keys and in age."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from millstream import Each, In, Out
from millstream_apps.nodeflow.expressions import compile_expression
from millstream_apps.nodeflow.nodes.base import Config, Count, Seconds, Text, Tools

LEFT, RIGHT = "left", "right"
Sides = dict[str, tuple[float, Any]]
Key = str | int | float | bool | None


class JoinConfig(Config, frozen=True):
    """`left_key` and `right_key` are expressions of the messages on either side.

    `mode` "newest": each message meets the newest one of the other side, as often as it takes;
    "once": each message is used once. A message waits for its partner for `within` seconds, and no
    more than `keys` keys wait; what leaves without a partner goes to the port `unmatched`.
    """

    left_key: Text = "value.key"
    right_key: Text = "value.key"
    mode: Literal["newest", "once"] = "newest"
    within: Seconds = 60.0
    keys: Count = 10_000

    def __post_init__(self) -> None:
        compile_expression(self.left_key)
        compile_expression(self.right_key)


class Joining:
    """What waits, by key and side, oldest key first. Pure; times in seconds."""

    def __init__(self, config: JoinConfig) -> None:
        self._config = config
        self._waiting: OrderedDict[Key, Sides] = OrderedDict()
        self._matched: set[tuple[Key, str]] = set()

    def push(self, side: str, key: Key, value: Any, now: float) -> Iterator[Out[Any]]:
        """Take a message: the pair that it makes, and what leaves because of it."""
        yield from self._expire(now)
        other = RIGHT if side == LEFT else LEFT
        sides = self._waiting.pop(key, {})
        if side in sides:
            yield from self._leave(key, side, sides.pop(side)[1])
        partner = sides.get(other)
        if partner is not None:
            yield Out("out", {"key": key, side: value, other: partner[1]})
            if self._config.mode == "once":
                self._forget(key)
                return
            self._matched |= {(key, side), (key, other)}
        self._waiting[key] = sides | {side: (now, value)}
        if len(self._waiting) > self._config.keys:
            yield from self._drop(next(iter(self._waiting)))

    def _expire(self, now: float) -> Iterator[Out[Any]]:
        """Keys stand in the order of their last message, so the old ones are in front."""
        oldest = now - self._config.within
        while self._waiting:
            key, sides = next(iter(self._waiting.items()))
            if max(at for at, _ in sides.values()) >= oldest:
                return
            yield from self._drop(key)

    def _drop(self, key: Key) -> Iterator[Out[Any]]:
        for side, (_, value) in self._waiting.pop(key).items():
            yield from self._leave(key, side, value)
        self._forget(key)

    def _leave(self, key: Key, side: str, value: Any) -> Iterator[Out[Any]]:
        if (key, side) not in self._matched:
            yield Out("unmatched", {"key": key, side: value})
        self._matched.discard((key, side))

    def _forget(self, key: Key) -> None:
        self._matched -= {(key, LEFT), (key, RIGHT)}

    def __len__(self) -> int:
        return len(self._waiting)


def join(config: JoinConfig, tools: Tools) -> Callable[[In[Any]], Iterator[Out[Any]]]:
    """Pairs `{"key", "left", "right"}` to `out`, what found no partner to `unmatched`.

    What waits too long is looked at when the next message comes; what still waits when the flow
    ends has no partner and is not told.
    """
    state = Joining(config)
    keys: Mapping[str, Callable[[Any], Any]] = {
        LEFT: compile_expression(config.left_key),
        RIGHT: compile_expression(config.right_key),
    }

    def step(inbox: Each[In[Any]]) -> Iterator[Out[Any]]:
        key = keys[inbox.port](inbox.value)
        yield from state.push(inbox.port, key, inbox.value, tools.now())

    return step
