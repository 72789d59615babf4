"""Crowds: what is published reaches all who follow at the live edge, once and in order, in laps."""

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.crowd import AT_ONCE, SLICE, Form
from millstream.engine.tail import Tail
from millstream.events import Segment
from millstream.testing.clock import run_virtual

LINES = Form("lines", lambda segment: b"".join(b"%b\n" % line for line in segment.events))


class Reader:
    """Writes down what it is given, each time as a list; reads the tail itself when it is woken."""

    def __init__(self, tail: Tail, *, takes: bool = True) -> None:
        self.tail, self.takes, self.cursor = tail, takes, tail.last
        self.begin, self.woken = tail.last, 0
        self.times: list[list[int]] = []
        self.form = LINES
        self.write: Callable[[bytes], bool] | None = self.take

    def take(self, ready: bytes) -> bool:
        if self.takes:
            self.times.append([int(line) for line in ready.split()])
        return self.takes

    def wake(self) -> None:
        self.woken += 1
        for shared in self.tail.since(self.cursor):
            self.times.append([int(line) for line in shared.segment.after(self.cursor).events])
            self.cursor = shared.segment.last

    @property
    def told(self) -> list[int]:
        return [position for some in self.times for position in some]


def segment(first: int, count: int = 1, *, size: int = 0, mergeable: bool = False) -> Segment:
    lines = tuple(b"%d" % at + b" " * size for at in range(first, first + count))
    bytes_ = sum(map(len, lines)) + count
    return Segment(first, lines, first + count - 1, bytes_, mergeable=mergeable)


def crowd(count: int) -> tuple[Tail, list[Reader]]:
    """A log without events, and so many who follow it."""
    tail = Tail("r", first=1, last=0, ended=False)
    readers = [Reader(tail) for _ in range(count)]
    for reader in readers:
        tail.listen(reader)
    return tail, readers


moves = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 3)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
        st.tuples(st.just("join"), st.integers(1, 2 * SLICE)),
        st.tuples(st.just("refuse"), st.integers(0, 5 * SLICE)),
        st.tuples(st.just("leave"), st.integers(0, 5 * SLICE)),
    ),
    max_size=25,
)


@given(st.sampled_from((1, 2, SLICE + 1)), moves, st.booleans())
def test_each_is_told_everything_once_and_in_order(begin, moves, mergeable):
    async def main():
        tail = Tail("r", first=1, last=1, ended=False)
        readers, gone = [], []
        for move, number in [("join", begin), *moves, ("publish", 1)]:
            if move == "publish":
                some = segment(tail.last + 1, number, mergeable=mergeable)
                tail.publish(some, ended=False)
            elif move == "turn":
                for _ in range(number):
                    await asyncio.sleep(0)
            elif move == "join":
                readers += [Reader(tail) for _ in range(number)]
                for reader in readers[-number:]:
                    tail.listen(reader)
            elif move == "refuse":
                readers[number % len(readers)].takes ^= True
            else:
                gone.append(readers.pop(number % len(readers)))
                tail.unlisten(gone[-1])
                readers = readers or [Reader(tail)]
                tail.listen(readers[0])
        for _ in range(4 + 2 * len(readers) // SLICE):  # what was begun, and a lap for the rest
            await asyncio.sleep(0)
        for reader in readers:
            assert reader.told == list(range(reader.begin + 1, tail.last + 1))
        for reader in gone:
            assert reader.told == list(range(reader.begin + 1, reader.cursor + 1))

    run_virtual(main())


async def test_who_is_alone_is_given_it_at_once_and_nobody_keeps_a_copy():
    tail, (reader, other) = crowd(2)
    tail.unlisten(other)
    for position in (1, 2):
        tail.publish(segment(position), ended=False)
        assert reader.told[-1] == position
    assert all(shared.frames is None for shared in tail.since(0))
    reader.takes = False
    tail.publish(segment(3), ended=False)
    assert (reader.told, reader.woken) == ([1, 2, 3], 1)


async def test_what_is_published_during_a_lap_goes_along_and_the_loop_has_its_turns():
    tail, readers = crowd(3 * SLICE)
    tail.publish(segment(1), ended=False)
    assert sum(reader.told == [1] for reader in readers) == SLICE
    tail.publish(segment(2), ended=False)
    tail.publish(segment(3), ended=False)
    turns = 0
    while not all(reader.told == [1, 2, 3] for reader in readers):
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 3
    assert sorted(len(reader.times) for reader in readers) == [1] * 2 * SLICE + [2] * SLICE


async def test_the_end_is_told_to_all():
    tail, readers = crowd(2 * SLICE)
    tail.publish(segment(1), ended=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert all((reader.told, reader.woken) == ([1], 1) for reader in readers)


async def test_who_lags_far_reads_by_itself():
    """More than one write should hold is not given at once."""
    tail, readers = crowd(2 * SLICE)
    for position in (1, 2, 3):
        tail.publish(segment(position, size=AT_ONCE * 2 // 5), ended=False)
    for _ in range(4):
        await asyncio.sleep(0)
    assert all(reader.told == [1, 2, 3] for reader in readers)
    assert sum(reader.woken == 1 for reader in readers) == SLICE
