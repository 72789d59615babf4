"""Sources: what they give, when, and that the same seed gives the same."""

import asyncio
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.testing.clock import run_virtual
from millstream_apps.nodeflow.nodes.pacing import HELD_UP, TICK, Inbox, Silence, paced
from tests.nodeflow.nodes import EPOCH, at, seconds, source, timed, values


def test_a_timer_tells_its_count_and_the_time():
    told = source("timer", {"interval": 0.5, "count": 3})
    assert told == [
        (0.0, {"count": 1, "time": EPOCH}),
        (0.5, {"count": 2, "time": EPOCH + 0.5}),
        (1.0, {"count": 3, "time": EPOCH + 1.0}),
    ]


def test_a_timer_without_count_goes_on():
    assert seconds(source("timer", {"interval": 3600}, most=5))[-1] == 4 * 3600


def test_a_sine_is_a_sine():
    config = {"rate": 8, "period": 1, "amplitude": 2, "offset": 10, "count": 9}
    told = source("sine", config)
    assert values(told) == pytest.approx([10 + 2 * math.sin(2 * math.pi * n / 8) for n in range(9)])
    assert seconds(told) == pytest.approx([n / 8 for n in range(9)])


def test_noise_is_seeded_and_about_the_sine():
    noisy = {"rate": 1000, "period": 1, "noise": 0.1, "count": 2000}
    one, again = (values(source("sine", noisy | {"seed": 7})) for _ in range(2))
    other = values(source("sine", noisy | {"seed": 8}))
    clean = values(source("sine", noisy | {"noise": 0.0}))
    assert one == again != other
    assert statistics.pstdev(a - b for a, b in zip(one, clean, strict=True)) == pytest.approx(
        0.1, rel=0.1
    )


@pytest.mark.parametrize("kind", ["uniform", "normal", "walk"])
def test_chance_is_seeded(kind):
    config = {"kind": kind, "low": 5, "high": 15, "count": 3000, "rate": 1000}
    one, again = (values(source("random", config | {"seed": 3})) for _ in range(2))
    assert one == again
    assert one != values(source("random", config | {"seed": 4}))
    assert statistics.fmean(one) == pytest.approx(10, abs=2.5)
    if kind != "normal":
        assert min(one) >= 5
        assert max(one) <= 15


def test_steps_are_low_then_high():
    told = source("step", {"rate": 4, "period": 1, "low": -1, "high": 3, "count": 8})
    assert values(told) == [-1, -1, 3, 3, -1, -1, 3, 3]


def test_bursts_come_at_once_with_pauses_between():
    told = source("burst", {"size": 3, "interval": 2, "count": 2})
    assert told == [(0, 0), (0, 1), (0, 2), (2, 3), (2, 4), (2, 5)]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0001, 5.0), st.integers(1, 400))
def test_a_paced_source_is_never_early_and_at_most_a_tick_late(interval, count):
    told = run_virtual(timed(paced(interval, count)))
    assert values(told) == list(range(count))
    for n, moment in enumerate(seconds(told)):
        assert -1e-6 <= moment - n * interval <= TICK + 1e-6


def test_a_source_that_was_held_up_goes_on_from_there():
    async def main():
        clock = asyncio.get_running_loop().time
        moments = []
        async for n in paced(0.1, 5):
            moments.append(round(clock(), 6))
            if n == 1:
                await asyncio.sleep(10 * HELD_UP)  # a reader that makes no room
        return moments

    assert run_virtual(main()) == [0.0, 0.1, 10.1, 10.2, 10.3]


# --- reading with a deadline ----------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers()), max_size=20),
    st.floats(0.01, 1),
    st.booleans(),
)
def test_an_inbox_loses_nothing_to_its_deadlines(gaps, timeout, forever):
    moment, arrivals = 0.0, []
    for gap, value in gaps:
        moment += gap
        arrivals.append((moment, value))

    async def main():
        got = []
        async with Inbox(at(arrivals)) as inbox:
            while (value := await inbox.next(None if forever else timeout)) is not Silence.END:
                if value is not Silence.TIMEOUT:
                    got.append(value)
        return got

    assert run_virtual(main()) == [value for _, value in arrivals]


def test_an_inbox_lets_go_of_what_it_waits_for():
    closed = []

    async def endless():
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            closed.append(True)

    async def main():
        async with Inbox(endless()) as inbox:
            return await inbox.next(1.0)

    assert run_virtual(main()) is Silence.TIMEOUT
    assert closed == [True]


def test_an_inbox_hands_on_what_its_stream_raises():
    async def broken():
        yield 1
        raise ValueError("broken")

    async def main():
        async with Inbox(broken()) as inbox:
            assert await inbox.next() == 1
            await inbox.next()

    with pytest.raises(ValueError, match="broken"):
        run_virtual(main())
