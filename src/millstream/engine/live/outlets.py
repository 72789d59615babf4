"""Outlets: where a live step's values go. To the arrows of each port, into the log where the step
is published, to taps.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from millstream.annotations import Out
from millstream.core import pace
from millstream.core.graph import Step
from millstream.engine.live.channel import Channel, Wait
from millstream.engine.live.failures import check_out, not_encodable
from millstream.engine.live.statistics import Counts
from millstream.engine.live.taps import Tap
from millstream.engine.work import Work
from millstream.errors import StepError
from millstream.events import STEP_PARTIAL, STEP_RESULT

Fail = Callable[[Counts, int | None, StepError], None]

PUBLISHED = 64
"""Messages a turn of a step whose values are logged: it waits for the log after each."""


class Publisher:
    """Writes one step's values into the log, while that is wanted."""

    def __init__(self, work: Work, step: Step, counts: Counts, fail: Fail) -> None:
        self._work, self._step, self._counts, self._fail = work, step, counts, fail
        self._always = step.publish == "always"
        self._never = step.publish == "never"

    @property
    def active(self) -> bool:
        """Whether values are logged now."""
        return self._always or (not self._never and self._work.watched())

    @property
    def crowded(self) -> bool:
        """Whether to wait for `room`: the step writes into the log, which is behind."""
        return self._work.journal.crowded and (self.active or self._step.context is not None)

    async def room(self) -> None:
        """Wait until the log has room."""
        await self._work.journal.room()

    def write(
        self,
        numbers: Sequence[int],
        values: Iterable[Any],
        fallbacks: Collection[int] = (),
        port: str | None = None,
    ) -> None:
        """Log these values, with the port by which they left where the step has several. One
        that has no JSON form fails its message."""
        append, name, yields = self._work.journal.append, self._step.name, self._step.yields
        for number, value in zip(numbers, values, strict=True):
            try:
                append(
                    STEP_PARTIAL if yields else STEP_RESULT,
                    step=name,
                    item=None if yields else number,
                    fallback=number in fallbacks,
                    data=value if port is None else Out(port, value),
                )
            except TypeError as error:
                self._fail(self._counts, number, not_encodable(error))
            else:
                self._counts.published += 1


class Outlet:
    """One port of one step."""

    def __init__(self, publisher: Publisher, port: str | None = None) -> None:
        self.channels: list[Channel] = []
        self.port = port
        self.taps: list[Tap] = []
        self.publisher = publisher

    @property
    def wanted(self) -> bool:
        """Whether anybody wants its values now."""
        return bool(self.channels or self.taps or self.publisher.active)

    def give(
        self,
        numbers: Sequence[int],
        values: Sequence[Any],
        passed: int,
        fallbacks: Collection[int] = (),
    ) -> list[Wait[None]]:
        """Hand a block on, and the watermark; what is to be awaited before the next one."""
        waits: list[Wait[None]] = []
        for channel in self.channels:
            wait = channel.put(numbers, values, passed)
            if wait is not None:
                waits.append(wait)
        for tap in self.taps:
            tap.offer(numbers, values)
        if values and self.publisher.active:
            self.publisher.write(numbers, values, fallbacks, self.port)
        return waits

    def close(self) -> None:
        """Nothing more leaves by this port."""
        for channel in self.channels:
            channel.close()


class Outlets:
    """All ports of one step."""

    def __init__(self, step: Step, ports: Mapping[str, Outlet], publisher: Publisher) -> None:
        self.step, self.ports, self.publisher = step, ports, publisher
        self._only = ports["out"] if not step.ports else None

    def give(
        self,
        numbers: Sequence[int],
        values: Sequence[Any],
        passed: int,
        fallbacks: Collection[int] = (),
    ) -> list[Wait[None]]:
        """See Outlet; values of a step with ports are sorted by port."""
        if self._only is not None:
            return self._only.give(numbers, values, passed, fallbacks)
        waits: list[Wait[None]] = []
        for port, outlet in self.ports.items():
            mine = [(n, out.value) for n, out in zip(numbers, values, strict=True)
                    if out.port == port]  # fmt: skip
            waits += outlet.give([n for n, _ in mine], [v for _, v in mine], passed, fallbacks)
        return waits

    def check(self, value: Any) -> None:
        """Raise StepError where a step with ports gives anything but an Out of one of them."""
        if self._only is None:
            check_out(self.step, value)

    def close(self) -> None:
        """Nothing more leaves this step."""
        for outlet in self.ports.values():
            outlet.close()


class Hand:
    """What a long call or an async step has made and not yet handed on.

    It is handed on in blocks while the step keeps running, and at once when the step waits for
    anything: then the loop comes round, and with it `_notice`.
    """

    def __init__(self, outlets: Outlets, counts: Counts) -> None:
        self.outlets, self._counts = outlets, counts
        self.number = 0
        """The last message's."""
        self.numbers: list[int] = []
        self.values: list[Any] = []
        self.noticed = False
        """Whether the step has waited since it was last armed."""
        self._lent: Sequence[int] = ()
        self._at = self._last = 0
        self._waits: list[Wait[None]] = []
        self._loop = asyncio.get_running_loop()
        self._armed: asyncio.Handle | None = None

    def arm(self) -> None:
        """Notice when the step waits next."""
        self.noticed = False
        if self._armed is None:
            self._armed = self._loop.call_soon(self._notice)

    def disarm(self) -> None:
        """The step is not running."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def _notice(self) -> None:
        self._armed, self.noticed = None, True
        if self.values:
            self.flush(self.done())

    def lend(self, numbers: Sequence[int]) -> None:
        """The values to come bear these numbers, one after the other; `skip` passes one over."""
        self._fill()
        self._lent, self._at = numbers, 0

    def skip(self) -> int:
        """The next number that was lent has no value; that number."""
        self._fill()
        self._at += 1
        return self._lent[self._at - 1]

    def done(self) -> int:
        """The last number whose value is there."""
        self._fill()
        return self.numbers[-1] if self.numbers else self._last

    def _fill(self) -> None:
        """Note the lent numbers of the values that have come."""
        lacking = len(self.values) - len(self.numbers)
        if lacking:
            self.numbers += self._lent[self._at : self._at + lacking]
            self._at += lacking

    def add(self, value: Any) -> bool:
        """One more message, with the next number. Whether to `settle` before the next one.
        Raises StepError where it names no port of the step."""
        self.outlets.check(value)
        self.number += 1
        self.numbers.append(self.number)
        self.values.append(value)
        if self.noticed or self._armed is None:
            self.arm()
        return bool(self._waits) or len(self.values) >= self.most

    @property
    def most(self) -> int:
        """Messages that may gather."""
        return PUBLISHED if self.outlets.publisher.active else pace.LARGEST

    def flush(self, passed: int) -> None:
        """Hand on what there is, and the watermark."""
        self._fill()
        self._last = passed
        self._counts.made += len(self.values)
        self._waits += self.outlets.give(self.numbers, self.values, passed)
        self.numbers.clear()
        self.values.clear()

    async def settle(self, passed: int | None = None) -> None:
        """Hand on, and wait until all of it is in. Lets the loop do other things."""
        self.flush(self.number if passed is None else passed)
        waits, self._waits = self._waits, []
        await settle(self.outlets.publisher, waits)


async def settle(publisher: Publisher, waits: Sequence[Wait[None]]) -> None:
    """Until there is room for the next block."""
    for wait in waits:
        await wait
    if publisher.crowded:
        await publisher.room()
