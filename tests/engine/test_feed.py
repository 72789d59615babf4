"""Feeds: a call's stream of values, bounded, begun again, superseded, or left early."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.feed import Feed
from millstream.testing.clock import run_virtual


def feed(size: int = 2, *, keep: bool = False) -> Feed:
    return Feed(size, keep=keep, load=lambda value: value)


async def drain(found: Feed) -> list[object]:
    return [value async for value in found.reader()]


@given(st.integers(1, 3), st.integers(0, 8), st.booleans())
def test_every_value_in_order_and_never_more_unread_than_its_size(size, count, keep):
    async def main():
        found = feed(size, keep=keep)
        reader = found.reader()

        async def write():
            for number in range(count):
                await found.put(number, number)
                assert found.total - found._read <= size
            found.finish()

        writer = asyncio.create_task(write())
        assert [value async for value in reader] == list(range(count))
        await writer
        if not keep:
            assert found._values == []

    run_virtual(main())


async def test_before_there_is_a_reader_nothing_stops_the_writer():
    found = feed(1)
    for number in range(100):
        await asyncio.wait_for(found.put(number, number), 1)
    found.finish()
    assert await drain(found) == list(range(100))


async def test_a_reader_that_leaves_frees_the_writer():
    found = feed(1)
    reader = found.reader()
    writer = asyncio.create_task(_fill(found, 50))
    assert await anext(reader) == 0
    found.abandon()
    await asyncio.wait_for(writer, 1)
    assert found._values == []


async def _fill(found: Feed, count: int) -> None:
    for number in range(count):
        await found.put(number, number)


async def test_a_second_attempt_begins_with_the_first_value():
    found = feed(4, keep=True)
    await _fill(found, 3)
    reader = found.reader()
    assert [await anext(reader), await anext(reader)] == [0, 1]
    found.finish()
    assert await drain(found) == [0, 1, 2]


async def test_a_superseded_value_is_waited_for():
    found = feed(4, keep=True)
    await _fill(found, 3)
    reader = found.reader()
    assert await anext(reader) == 0
    assert not found.drop(1)
    assert found.drop(0)
    assert not found.drop(77)
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    assert not waiting.done()
    await found.put(1, "new")
    assert await waiting == "new"
    await found.put(0, "zero")
    found.finish()
    assert await drain(found) == ["zero", "new", 2]


async def test_what_fills_a_hole_gets_through_a_full_feed():
    found = feed(1, keep=True)
    reader = found.reader()
    await found.put(0, 0)
    found.drop(0)
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.wait_for(found.put(1, 1), 1)
    await asyncio.wait_for(found.put(0, "zero"), 1)
    assert await waiting == "zero"


async def test_a_hole_that_nothing_fills_is_passed_over():
    found = feed(4, keep=True)
    await _fill(found, 3)
    found.drop(1)
    found.drop(2)
    found.finish()
    assert await drain(found) == [0]


async def test_waiting_until_so_many_values_came():
    found = feed(9)
    waiter = asyncio.create_task(found.reached(2))
    ended = asyncio.create_task(found.reached(None))
    await _fill(found, 1)
    await asyncio.sleep(0)
    assert not waiter.done()
    await _fill(found, 1)
    await asyncio.wait_for(waiter, 1)
    assert not ended.done()
    found.finish()
    await asyncio.wait_for(ended, 1)


async def test_a_reader_of_nothing_ends():
    found = feed()
    found.finish()
    with pytest.raises(StopAsyncIteration):
        await anext(found.reader())
