"""LossyChannel: an arrow that may lose messages. It never stops its writer; it counts each loss.

Which message goes is decided by `core.buffer`.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from millstream.core.buffer import FULL, Shelf
from millstream.core.graph import Arrow
from millstream.engine.live.channel import STOPPED, Channel, Taken, Wait, _nobody
from millstream.policy import Buffer


class LossyChannel(Channel):
    """See Channel. `put` always takes all of a block, or drops."""

    lossy = True

    def __init__(
        self,
        arrow: Arrow,
        policy: Buffer,
        *,
        now: Callable[[], float],
        on_drop: Callable[[], None] = _nobody,
    ) -> None:
        super().__init__(arrow, policy, now=now, on_drop=on_drop)
        self._shelf = Shelf(policy)

    def __len__(self) -> int:
        return len(self._shelf)

    def put(self, numbers: Sequence[int], values: Sequence[Any], passed: int) -> Wait[None] | None:
        """Append a block; never waits."""
        if self.discarding:
            self._discard(values)
        elif values:
            self._shelve(numbers, values)
        self.passed = passed
        self.wake()
        return None

    def _shelve(self, numbers: Sequence[int], values: Sequence[Any]) -> None:
        moment, gauge, shelf = self._now(), self.gauge, self._shelf
        lost = 0
        for number, value in zip(numbers, values, strict=True):
            for cause, kind in shelf.add(
                number,
                (value, moment),
                self.kind(value),
                key=self._key(number, value),
                adapted=self._adapted,
            ):
                gauge.drop(cause, kind)
                lost += cause == FULL
        gauge.sent += len(values)
        gauge.meter.note(gauge.sent, moment)
        if len(shelf) >= self.policy.high * self.size:
            gauge.pressed += 1
        if self._adapted is not None:
            self._adapt(refused=bool(lost))
            shelf.size = self.size
        if gauge.drops != gauge.told:
            self._on_drop()

    def _key(self, number: int, value: Any) -> Hashable:
        """What the message is a newer state of. One that has no key stands for itself."""
        if self.policy.key is None:
            return None
        try:
            key = self.policy.key(value)
            hash(key)
        except Exception:
            return (number,)
        return key

    def take(self, most: int) -> Taken:
        """Up to so many messages, oldest first."""
        numbers, shelved = self._shelf.take(most)
        if shelved:
            moment, gauge = self._now(), self.gauge
            gauge.delivered += len(shelved)
            for _, put_at in shelved:
                gauge.latencies.add(moment - put_at)
        return numbers, [value for value, _ in shelved]

    def discard(self, discarding: bool) -> None:
        """See Channel."""
        self.discarding = discarding
        if discarding:
            gone = self._shelf.clear()
            for dropped in gone:
                self.gauge.drop(STOPPED, dropped.kind)
            if gone:
                self._on_drop()
