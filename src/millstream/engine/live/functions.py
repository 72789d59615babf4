"""Nodes that call a function per message: fused segments, plain async steps, steps with policies.

Each takes a block, works it off, hands the results on in the order of their numbers, and waits
where there is no room. They end when their inbox does, or when they are interrupted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from millstream.annotations import NOTHING
from millstream.core.pace import Pace
from millstream.engine.channel import Signal
from millstream.engine.live.calls import LACKING, Calls, Made
from millstream.engine.live.channel import Wait
from millstream.engine.live.failures import Reporter, plain
from millstream.engine.live.inbox import Inbox, Taken
from millstream.engine.live.outlets import PUBLISHED, Hand, Outlets, settle
from millstream.engine.live.segment import Segment


class SegmentNode:
    """A segment that reads an inbox."""

    def __init__(
        self, segment: Segment, inbox: Inbox, outlets: Sequence[Outlets], now: Callable[[], float]
    ) -> None:
        self.segment, self.inbox, self._now = segment, inbox, now
        self.turns = Turns(segment, outlets)

    async def run(self) -> None:
        """Until the inbox has ended, or is interrupted."""
        pace = Pace()
        await self.turns.settle()
        while (taken := await self.inbox.take(self.turns.limit(pace.size))) is not None:
            began = self._now()
            waits = self.turns.turn(taken)
            pace.note(len(taken.values), self._now() - began)
            await self.turns.settle(waits)
        if not self.inbox.interrupted:
            self.turns.close()

    def __repr__(self) -> str:
        return f"<SegmentNode {', '.join(self.segment.counts)}>"


class Turns:
    """Blocks through a segment and out of it."""

    def __init__(self, segment: Segment, outlets: Sequence[Outlets]) -> None:
        self.segment, self._outlets = segment, tuple(outlets)
        self.pending: list[Wait[None]] = []
        """What the last turn waits for."""
        self._interrupted = asyncio.get_running_loop().create_future()
        self._ports = [outlet for each in outlets for outlet in each.ports.values()]
        self._publishers = [each.publisher for each in outlets]

    def limit(self, size: int) -> int:
        """Messages for the next turn: few where their values are logged."""
        published = any(publisher.active for publisher in self._publishers)
        return min(size, PUBLISHED) if published else size

    def turn(self, taken: Taken) -> list[Wait[None]]:
        """Work a block off, hand on what comes of it; what is to be awaited."""
        waits: list[Wait[None]] = []
        blocks = self.segment.process(taken.numbers, taken.values) if taken.values else []
        given = set()
        for outlet, numbers, values in blocks:
            waits += outlet.give(numbers, values, taken.passed)
            given.add(outlet)
        for outlet in self._ports:
            if outlet.channels and outlet not in given:
                waits += outlet.give((), (), taken.passed)
        return waits

    def interrupt(self) -> None:
        """Wait no longer: another node goes on, and waits for what is `pending` first."""
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    async def settle(self, waits: Sequence[Wait[None]] = ()) -> None:
        """Until there is room for the next block."""
        self.pending += waits
        while self.pending and not self._interrupted.done():
            await asyncio.wait(
                [self.pending[0], self._interrupted], return_when=asyncio.FIRST_COMPLETED
            )
            self.pending = [wait for wait in self.pending if not wait.done()]
        for publisher in self._publishers:
            if publisher.crowded:
                await publisher.room()

    def close(self) -> None:
        """Nothing more comes."""
        for outlets in self._outlets:
            outlets.close()


class AsyncNode:
    """An async step without policies of its own: one message after the other, as fast as it goes.

    Its results gather while it runs through, and are handed on at once when it waits.
    """

    def __init__(self, calls: Calls, inbox: Inbox, outlets: Outlets, reporter: Reporter) -> None:
        self.calls, self.inbox, self.outlets, self._reporter = calls, inbox, outlets, reporter
        self._hand = Hand(outlets, calls.counts)

    async def run(self) -> None:
        """Until the inbox has ended, or is interrupted."""
        pace, hand, now = Pace(), self._hand, self.calls.now
        plainly = not (self.calls.step.sieves or self.calls.step.ports)
        while (taken := await self.inbox.take(min(pace.size, hand.most))) is not None:
            began = now()
            hand.arm()
            try:
                await (self._plain_rows(taken) if plainly else self._rows(taken))
            finally:
                hand.disarm()
            pace.note(len(taken.values), now() - began)
            await hand.settle(taken.passed)
        if not self.inbox.interrupted:
            self.outlets.close()

    async def _plain_rows(self, taken: Taken) -> None:
        """Work a block off whose every message has a value. One that fails leaves the others
        alone."""
        hand, call, to_values = self._hand, self.calls.direct, self._hand.values.append
        hand.lend(taken.numbers)
        for row in taken.values:
            try:
                to_values(await call(row))
            except BaseException as error:
                number = hand.skip()
                if self._failed(number, error):
                    hand.numbers.append(number)
                    to_values(None)
            if hand.noticed:
                await hand.settle(hand.done())
                hand.arm()

    async def _rows(self, taken: Taken) -> None:
        """Work a block off whose messages may go no further, or by several ports."""
        hand, call = self._hand, self.calls.direct
        for number, row in zip(taken.numbers, taken.values, strict=True):
            value = None
            try:
                value = await call(row)
                passes = self._passes(value)
            except BaseException as error:
                passes = self._failed(number, error)
            if passes:
                hand.numbers.append(number)
                hand.values.append(value)
            if hand.noticed:
                await hand.settle(number)
                hand.arm()

    def _passes(self, value: Any) -> bool:
        """Whether it goes further. Raises StepError where it names no port."""
        if value is NOTHING and self.calls.step.sieves:
            self.calls.counts.filtered += 1
            return False
        self.outlets.check(value)
        return True

    def _failed(self, number: int, error: BaseException) -> bool:
        """A call raised. Whether the message goes on, as None."""
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            raise error
        self._reporter.failed(self.calls.counts, number, plain(error))
        goes_on = self.calls.step.optional and not self.calls.step.ports
        self.calls.counts.made -= goes_on  # it will be counted among the values handed on
        return goes_on

    def __repr__(self) -> str:
        return f"<AsyncNode {self.calls.step.name}>"


class OrderedNode:
    """A step with policies, in an executor, or several messages at a time: `limit` are under way or
    wait to be handed on. Results leave in the order of their messages."""

    def __init__(self, calls: Calls, inbox: Inbox, outlets: Outlets, limit: int) -> None:
        self.calls, self.inbox, self.outlets, self.limit = calls, inbox, outlets, limit
        self._line: deque[tuple[int, asyncio.Task[Made] | None]] = deque()
        self._slots = asyncio.Semaphore(limit)
        self._signal = Signal()
        self._over = False

    async def run(self) -> None:
        """Until the inbox has ended, or is interrupted; and all that was begun is handed on."""
        self._over = False
        async with asyncio.TaskGroup() as group:
            group.create_task(self._emit())
            while (taken := await self.inbox.take(self.limit)) is not None:
                for number, row in zip(taken.numbers, taken.values, strict=True):
                    await self._slots.acquire()
                    task = group.create_task(self.calls.perform(number, row))
                    task.add_done_callback(self._wake)
                    self._line.append((number, task))
                self._pass(taken.passed)
            self._over = True
            self._signal.set()
        if not self.inbox.interrupted:
            self.outlets.close()

    def _wake(self, _: object) -> None:
        self._signal.set()

    def _pass(self, passed: int) -> None:
        """The watermark goes behind all that is under way."""
        if self._line and self._line[-1][1] is None:
            self._line.pop()
        self._line.append((passed, None))
        self._signal.set()

    async def _emit(self) -> None:
        """Hand on what is done, in order."""
        while not (self._over and not self._line):
            await self._signal.wait()
            while self._line and _done(self._line[0]):
                numbers, values, passed, fallbacks, slots = self._finished()
                waits = self.outlets.give(numbers, values, passed, fallbacks)
                await settle(self.outlets.publisher, waits)
                for _ in range(slots):
                    self._slots.release()

    def _finished(self) -> tuple[list[int], list[Any], int, set[int], int]:
        """The done messages at the head of the line: numbers, values, watermark, which of them
        fallbacks made, and how many there were with those that have no value."""
        numbers: list[int] = []
        values: list[Any] = []
        fallbacks: set[int] = set()
        passed = slots = 0
        while self._line and _done(self._line[0]):
            passed, task = self._line.popleft()
            if task is None:
                continue
            slots += 1
            made = task.result()
            if made.value is not LACKING:
                numbers.append(passed)
                values.append(made.value)
            if made.fallback:
                fallbacks.add(passed)
        return numbers, values, passed, fallbacks, slots

    def __repr__(self) -> str:
        return f"<OrderedNode {self.calls.step.name}, {len(self._line)} under way>"


def _done(entry: "tuple[int, asyncio.Task[Made] | None]") -> bool:
    return entry[1] is None or entry[1].done()
