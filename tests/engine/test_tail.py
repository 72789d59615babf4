"""Tails: the live edge of a log, held without gaps and within bounds."""

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.tail import HELD_BYTES, Tail
from millstream.engine.tails import Tails
from millstream.events import Segment


def segment(first: int, count: int, size: int = 1) -> Segment:
    return Segment(first, tuple(b"x" * size for _ in range(count)))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.booleans()), max_size=20))
def test_what_is_held_is_contiguous_up_to_the_last_whoever_wrote_between(moves):
    """Each move: so many events published here, after so many written elsewhere, told or not."""
    tail = Tail("r", first=1, last=0, ended=False)
    last = 0
    for count, elsewhere, told in moves:
        last += elsewhere
        if told:
            tail.advance(first=1, last=last, ended=False)
        tail.publish(segment(last + 1, count), ended=False)
        last += count
        assert tail.last == last
        held = tail.since(0)
        assert held[-1].segment.last == last
        for one, other in pairwise(held):
            assert other.segment.first == one.segment.last + 1
        assert tail.edge().held == held[0].segment.first


def test_an_old_segment_changes_nothing():
    tail = Tail("r", first=1, last=0, ended=False)
    tail.publish(segment(1, 3), ended=False)
    tail.publish(segment(1, 1), ended=False)
    assert (tail.last, len(tail.since(0))) == (3, 1)


def test_it_holds_a_bounded_number_of_bytes_and_always_the_newest_segment():
    tail = Tail("r", first=1, last=0, ended=False)
    for first in range(1, 60, 2):
        tail.publish(segment(first, 2, size=10_000), ended=False)
        assert sum(shared.segment.size for shared in tail.since(0)) <= HELD_BYTES
    tail.publish(segment(61, 1, size=HELD_BYTES * 2), ended=False)
    assert [shared.segment.first for shared in tail.since(0)] == [61]
    assert tail._bytes == HELD_BYTES * 2 + 1


async def test_readers_wait_for_what_is_behind_their_cursor_or_the_end():
    tail = Tail("r", first=1, last=5, ended=False)
    waiters = [asyncio.create_task(tail.wait(cursor)) for cursor in (4, 5, 6)]
    await asyncio.sleep(0)
    assert [w.done() for w in waiters] == [True, False, False]
    tail.publish(segment(6, 1), ended=False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [w.done() for w in waiters] == [True, True, False]
    tail.publish(segment(7, 1), ended=True)
    await asyncio.gather(*waiters)
    assert tail._waiters == []


async def test_a_reader_that_leaves_while_waiting_leaves_nothing_behind():
    tail = Tail("r", first=1, last=5, ended=False)
    waiters = [asyncio.create_task(tail.wait(5)) for _ in range(3)]
    await asyncio.sleep(0)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert tail._waiters == []


async def test_a_forgotten_log_ends_its_readers():
    tail = Tail("r", first=1, last=5, ended=False)
    waiter = asyncio.create_task(tail.wait(5))
    await asyncio.sleep(0)
    tail.forget()
    await asyncio.wait_for(waiter, 1)
    assert (tail.first, tail.ended) == (6, True)


def test_framing_is_made_once_for_all_readers():
    tail = Tail("r", first=1, last=0, ended=False)
    tail.publish(segment(1, 1), ended=False)
    calls = []

    def frame(found: Segment) -> bytes:
        calls.append(found)
        return b"framed"

    for _ in range(3):
        assert tail.since(0)[0].framed("sse", frame) == b"framed"
    assert len(calls) == 1


def test_a_tail_lives_while_somebody_writes_or_reads():
    tails = Tails(lambda: 7.0)
    tail = tails.begin("r", last=3)
    assert (tail.last, tail.left_at) == (3, 7.0)
    again = tails.watch("r")
    assert again is tail
    assert tails.watchers == 1
    tails.finish("r")
    assert tails.get("r") is tail
    assert tails.unwritten() == [tail]
    tails.unwatch(tail)
    assert len(tails) == 0


def test_a_writer_that_goes_on_after_another_one_knows_where():
    tails = Tails(lambda: 7.0)
    tail = tails.watch("r")
    tail.advance(first=1, last=3, ended=False)
    tails.begin("r", last=9)
    assert tail.last == 9
    assert tail.since(0) == []
    tail.publish(segment(10, 1), ended=False)
    assert tail.edge().held == 10
