"""Turns at hosts, shared work and robots.txt, on a virtual clock."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.testing.clock import run_virtual
from millstream_apps.extract.fetching import FetchError
from millstream_apps.extract.fetching.flights import Flight, Flights
from millstream_apps.extract.fetching.freshness import Use, decide, may_keep, retry_after
from millstream_apps.extract.fetching.hosts import Hosts
from millstream_apps.extract.fetching.robots import UNREACHABLE_TTL, Robots, Rules, token, verdict


def now() -> float:
    return asyncio.get_running_loop().time()


# --- hosts ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 1.0, 5.0])), max_size=12),
)
def test_turns_are_few_and_far_between(at_a_time, delay, visits):
    """No more at a time than may be, starts at least the delay apart, first come first served; and
    one host does not wait for another."""

    async def main():
        hosts = Hosts(at_a_time=at_a_time, patience=1e6, rest=10)
        inside = dict.fromkeys("ab", 0)
        starts: dict[str, list[tuple[int, float]]] = {"a": [], "b": []}

        async def visit(number: int, name: str, seconds: float) -> None:
            async with hosts.turn(name, delay=delay):
                inside[name] += 1
                assert inside[name] <= at_a_time
                starts[name].append((number, now()))
                await asyncio.sleep(seconds)
                inside[name] -= 1

        async with asyncio.TaskGroup() as group:
            for number, (name, seconds) in enumerate(visits):
                group.create_task(visit(number, name, seconds))
        for told in starts.values():
            assert [number for number, _ in told] == sorted(number for number, _ in told)
            times = [at for _, at in told]
            assert all(b - a >= delay - 1e-9 for a, b in pairwise(times))
        alone = [seconds for name, seconds in visits if name == "a"]
        if alone and not delay and len(alone) <= at_a_time:
            assert all(at == 0 for _, at in starts["a"])
        assert hosts.statistics().in_use == 0

    run_virtual(main())


def test_nobody_waits_for_ever():
    async def main():
        hosts = Hosts(at_a_time=1, patience=5, rest=10)
        async with hosts.turn("a", delay=0):
            with pytest.raises(FetchError) as told:
                async with hosts.turn("a", delay=0):
                    pass
            assert (told.value.code, told.value.retryable, now()) == ("host_busy", True, 5)
        hosts.rest("a", 8)
        async with hosts.turn("a", delay=100):
            assert now() == 13
        with pytest.raises(FetchError, match="next turn is in 100 s"):
            async with hosts.turn("a", delay=0):
                pass
        hosts.rest("b", 11)
        with pytest.raises(FetchError) as told:
            async with hosts.turn("b", delay=0):
                pass
        assert (told.value.code, told.value.retry_after) == ("host_resting", 11)

    run_virtual(main())


# --- shared work ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 1.0, 3.0]),  # comes at
            st.sampled_from([0.25, 1.0, 10.0]),  # waits so long
            st.one_of(st.none(), st.sampled_from([0.1, 0.9, 2.5])),  # is cancelled after
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_leaving_disturbs_nobody(askers, fails):
    """Who stays long enough has the result; the work goes on as long as anybody waits, never twice
    at a time, and is stopped when the last has left."""
    took = 2.0

    async def main():
        flights: Flights[str] = Flights()
        under_way = most = 0

        async def work(flight: Flight[str]) -> str:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                flight.begin()
                await asyncio.sleep(took)
                if fails:
                    raise FetchError("no", code="x", retryable=False)
                return "done"
            finally:
                under_way -= 1

        async def ask(comes: float, waits: float) -> str:
            await asyncio.sleep(comes)
            return await flights.share("key", work, timeout=waits)

        async def one(comes: float, waits: float, leaves: float | None) -> object:
            task = asyncio.create_task(ask(comes, waits))
            if leaves is not None:
                asyncio.get_running_loop().call_later(comes + leaves, task.cancel)
            return (await asyncio.gather(task, return_exceptions=True))[0]

        found = await asyncio.gather(*(one(*asker) for asker in askers))
        for (_, waits, leaves), got in zip(askers, found, strict=True):
            if leaves is not None and leaves < min(waits, took):
                kinds: tuple[type, ...] = (asyncio.CancelledError, str, FetchError)
            elif waits < took:
                kinds = (TimeoutError, str, FetchError)
            else:
                kinds = (FetchError,) if fails else (str,)
            assert isinstance(got, kinds), (waits, leaves, got)
        await asyncio.sleep(0)
        assert (most, under_way, len(flights)) == (1, 0, 0)

    run_virtual(main())


# --- robots.txt ----------------------------------------------------------------------------------


def test_what_an_answer_means():
    assert verdict(404, b"Disallow: /").allows("http://s.test/x", "A")
    assert verdict(301, b"").allows("http://s.test/x", "A")
    assert not verdict(503, b"").allows("http://s.test/x", "A")
    rules = verdict(
        200, b"User-agent: mill\nCrawl-delay: 2\nAllow: /a\nDisallow: /\nSitemap: http://s.test/m\n"
    )
    assert rules.allows("http://s.test/a/b", "Mill/1.0 (on wheels)")
    assert not rules.allows("http://s.test/b", "Mill/1.0")
    assert rules.allows("http://s.test/b", "Other")
    assert rules.delay("Mill/2") == 2
    assert rules.delay("Other") == 0
    assert rules.sitemaps() == ["http://s.test/m"]
    assert verdict(200, b"Request-rate: 1/10\nUser-agent: *\nRequest-rate: 1/10").delay("x") == 10
    assert token("Mill/1.0 (x)") == "Mill"


@given(st.binary(max_size=200))
def test_any_robots_txt_is_read(data):
    rules = verdict(200, b"User-agent: *\n" + data)
    rules.allows("http://s.test/x", "A")
    assert rules.delay("A") >= 0
    rules.sitemaps()


def test_rules_are_asked_for_once_and_kept_for_a_while():
    async def main():
        answers: list[Rules | Exception] = [
            verdict(200, b"User-agent: *\nDisallow: /a"),
            Rules(unreachable="it answered 500"),
            verdict(200, b""),
        ]
        asked = 0

        async def ask(_: str) -> Rules:
            nonlocal asked
            asked += 1
            await asyncio.sleep(1)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        loop = asyncio.get_running_loop()
        robots = Robots(ask, ttl=100, now=loop.time)
        many = await asyncio.gather(*(robots.rules("http://s.test") for _ in range(9)))
        assert (asked, len(set(map(id, many)))) == (1, 1)
        first = await robots.rules("http://s.test")
        assert not first.allows("http://s.test/a", "x")
        await asyncio.sleep(101)
        assert await robots.rules("http://s.test") is first  # it fails now: older rules go on
        await asyncio.sleep(UNREACHABLE_TTL + 1)
        assert (await robots.rules("http://s.test")).allows("http://s.test/a", "x")
        answers.append(ValueError("nobody there"))
        with pytest.raises(ValueError, match="nobody"):
            await robots.rules("http://gone.test")
        await robots.aclose()

    run_virtual(main())


# --- freshness -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "age", "use"),
    [
        ("off", 1.0, Use.FETCH),
        ("off", None, Use.FETCH),
        ("only", None, Use.NOTHING),
        ("only", 1e9, Use.KEPT),
        ("read_through", None, Use.FETCH),
        ("read_through", 9.9, Use.KEPT),
        ("read_through", 10.0, Use.ASK),
        ("refresh", 0.0, Use.ASK),
        ("refresh", None, Use.FETCH),
    ],
)
def test_what_a_kept_page_is_good_for(mode, age, use):
    assert decide(mode, age, 10.0) is use


def test_what_may_be_kept():
    assert may_keep(200, {})
    assert not may_keep(200, {"cache-control": "Private, No-Store"})
    assert not may_keep(206, {})
    assert not may_keep(200, {"vary": "*"})


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120),
        ("Tue, 14 Nov 2000 22:13:20 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("9" * 400, 999_999_999),
        ("Tue, 99 Nov 2023", None),
    ],
)
def test_retry_after(said, seconds):
    assert retry_after(said, 1_700_000_000.0) == seconds
