"""Channels: bounded to the letter, first come first served, whoever is cancelled when."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.channel import Channel, Signal
from millstream.testing.clock import run_virtual


def channel(size: int) -> Channel[object]:
    return Channel(size, lambda: None)


MOVES = st.lists(
    st.sampled_from(["put", "put", "pop", "breathe"]) | st.integers(0, 9),
    max_size=60,
)


@given(st.integers(1, 3), MOVES)
def test_it_holds_its_size_and_its_order_whatever_happens(size, moves):
    """Numbers in `moves` cancel the writer of that rank, if it still waits."""

    async def main():
        found = channel(size)
        writers: list[asyncio.Task[None]] = []
        taken = []

        async def put(number):
            await found.put(number)
            assert len(found) <= size

        for move in moves:
            if move == "put":
                writers.append(asyncio.create_task(put(len(writers))))
            elif move == "pop":
                if found:
                    taken.append(found.pop())
            elif move == "breathe":
                await asyncio.sleep(0)
            elif move < len(writers):
                writers[move].cancel()
            assert len(found) <= size
        for _ in range(3 * len(writers) + 3):
            await asyncio.sleep(0)
            assert len(found) <= size
            while found:
                taken.append(found.pop())
        cancelled = {n for n, w in enumerate(writers) if w.cancelled()}
        assert all(w.done() for w in writers)
        assert taken == sorted(set(taken))
        assert set(range(len(writers))) - cancelled <= set(taken)
        assert found.statistics().writers_stopped == 0

    run_virtual(main())


async def test_a_full_channel_stops_its_writer():
    found = channel(1)
    await found.put("a")
    writer = asyncio.create_task(found.put("b"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not writer.done()
    assert found.statistics().stops == 1
    assert found.pop() == "a"
    await writer
    assert found.pop() == "b"


async def test_two_writers_let_in_at_once_do_not_overfill():
    found = channel(2)
    for name in "ab":
        await found.put(name)
    writers = [asyncio.create_task(found.put(name)) for name in "cde"]
    await asyncio.sleep(0)
    found.pop()
    found.pop()
    late = asyncio.create_task(found.put("f"))
    most = 0
    for _ in range(5):
        await asyncio.sleep(0)
        most = max(most, len(found))
    assert most == 2
    assert [found.pop(), found.pop()] == ["c", "d"]
    await asyncio.gather(*writers)
    await late
    assert [found.pop(), found.pop()] == ["e", "f"]


async def test_a_writer_that_is_cancelled_gets_nothing_in_and_holds_nobody_up():
    found = channel(1)
    await found.put("a")
    first, second = (asyncio.create_task(found.put(name)) for name in "bc")
    await asyncio.sleep(0)
    first.cancel()
    assert found.pop() == "a"  # before the cancelled writer has had its turn
    await second
    assert first.cancelled()
    assert found.pop() == "c"


async def test_the_reader_is_woken_by_values_and_by_the_end():
    woken = []
    found = Channel(3, lambda: woken.append(1))
    await found.put("a")
    found.close()
    assert len(woken) == 2
    assert not found.closed
    assert found.pop() == "a"
    assert found.closed
    with pytest.raises(IndexError):
        found.pop()


async def test_repr_says_how_it_stands():
    found = channel(2)
    await found.put("a")
    assert repr(found) == "<Channel open 1/2, 0 writers stopped, 0 passed>"


async def test_a_signal_before_the_wait_is_not_lost():
    signal = Signal()
    signal.set()
    await asyncio.wait_for(signal.wait(), 1)
    waiter = asyncio.create_task(signal.wait())
    await asyncio.sleep(0)
    assert not waiter.done()
    signal.set()
    await waiter


async def test_a_signal_outlives_a_cancelled_wait():
    signal = Signal()
    waiter = asyncio.create_task(signal.wait())
    await asyncio.sleep(0)
    signal.set()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await asyncio.wait_for(signal.wait(), 1)
