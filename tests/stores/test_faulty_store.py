"""The faults strike as planned, and what they leave behind is what they say."""

import asyncio
import random

import pytest

from millstream.errors import StaleEpoch, StoreError
from millstream.events import Segment
from millstream.store import Run, Store
from millstream.stores.memory import MemoryStore
from millstream.testing.faults import FaultyStore, drawn, script
from millstream.testing.store_conformance import CASES


def event(position):
    return Segment(position, (b'{"n":%d}' % position,))


async def a_store(plan) -> FaultyStore:
    store = FaultyStore(MemoryStore(), plan)
    await store.create(Run("r", "p", 1.0), event(1), worker="w", now=0, ttl=10)
    return store


async def last(store: Store):
    return (await store.read("r", 0)).last


@pytest.mark.parametrize("case", CASES)
async def test_without_faults_it_is_the_store_it_wraps(case):
    await CASES[case](FaultyStore(MemoryStore(), script({})))


async def test_before_does_nothing_and_after_does_it():
    store = await a_store(script({("append", 1): "before", ("append", 2): "after"}))
    with pytest.raises(StoreError, match="append 1"):
        await store.append("r", 1, event(2))
    assert await last(store) == 1
    with pytest.raises(StoreError, match="append 2"):
        await store.append("r", 1, event(2))
    assert await last(store) == 2
    await store.append("r", 1, event(3))
    assert await last(store) == 3


async def test_a_held_append_waits_for_the_test():
    store = await a_store(script({("append", 1): "hold"}))
    task = asyncio.ensure_future(store.append("r", 1, event(2)))
    await store.holding()
    assert (await last(store), store.statistics().waiting, task.done()) == (1, 1, False)
    assert store.let_go() == 1
    await task
    assert (await last(store), store.statistics().waiting) == (2, 0)


async def test_a_held_append_may_be_cancelled():
    store = await a_store(script({("append", 1): "hold"}))
    task = asyncio.ensure_future(store.append("r", 1, event(2)))
    await store.holding()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await last(store), store.statistics().waiting, store.let_go()) == (1, 0, 0)


async def test_a_held_append_of_a_lost_lease_is_refused():
    store = await a_store(script({("append", 1): "hold"}))
    task = asyncio.ensure_future(store.append("r", 1, event(2)))
    await store.holding()
    assert await store.claim("w2", pipelines=["p"], now=10, ttl=10)
    store.let_go()
    with pytest.raises(StaleEpoch):
        await task


async def test_close_lets_go_of_what_is_held():
    store = await a_store(script({("append", 1): "hold"}))
    task = asyncio.ensure_future(store.append("r", 1, event(2)))
    await store.holding()
    await store.close()
    await task


async def test_a_stolen_lease_writes_nothing_and_the_run_is_free():
    store = await a_store(script({("append", 1): "steal", ("renew", 1): "steal"}))
    with pytest.raises(StaleEpoch):
        await store.append("r", 1, event(2))
    lease = await store.claim("w", pipelines=["p"], now=0, ttl=10)
    assert lease is not None
    assert (lease.epoch, lease.run.seq) == (3, 1)  # 2 was the thief's
    (renewal,) = await store.renew("w", [("r", 3)], now=0, ttl=10)
    assert not renewal.held


async def test_statistics_and_repr_tell_what_struck():
    store = await a_store(script({("append", 1): "before", ("append", 2): "steal"}))
    for _ in range(2):
        with pytest.raises((StoreError, StaleEpoch)):
            await store.append("r", 1, event(2))
    now = store.statistics()
    assert (now.calls, now.before, now.after, now.hold, now.steal) == (3, 1, 0, 0, 1)
    assert "before=1" in repr(store)
    assert "MemoryStore" in repr(store)


def test_the_same_seed_draws_the_same_faults():
    def faults(seed):
        plan = drawn(random.Random(seed), before=0.2, after=0.2, steal=0.2)
        return [plan(method, n) for n in range(200) for method in ("append", "create", "read")]

    assert faults(1) == faults(1)
    assert faults(1) != faults(2)
    assert set(faults(1)) == {None, "before", "after", "steal"}


def test_drawn_faults_strike_where_they_may():
    plan = drawn(random.Random(1), steal=1.0)
    assert (plan("append", 1), plan("create", 1), plan("read", 1)) == ("steal", None, None)
    plan = drawn(random.Random(1), before=1.0, methods={"read"})
    assert (plan("append", 1), plan("read", 1)) == (None, "before")


@pytest.mark.parametrize("chances", [{"before": -0.1}, {"before": 0.6, "hold": 0.6}])
def test_impossible_chances_are_refused(chances):
    with pytest.raises(ValueError, match="chances"):
        drawn(random.Random(1), **chances)
