"""Workers: they go on whatever the store does, and leave nothing claimed behind."""

import asyncio
from typing import Any

from millstream.engine.worker import Worker
from millstream.errors import StoreError
from millstream.events import Event, Segment, encode
from millstream.store import Lease, Run
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from millstream.testing.faults import FaultyStore, script


async def queued(store: Any, *names: str) -> None:
    for name in names:
        first = Segment(1, (encode(Event(run=name, seq=1, type="run.queued")),))
        run = Run(id=name, pipeline="p", created=virtual_now())
        await store.create(run, first, now=virtual_now(), ttl=1)


def worker(store: Any, prepare: Any, **more: Any) -> Worker:
    return Worker(
        "w",
        store,
        ["p"],
        prepare,
        now=virtual_now,
        adopted=lambda lease: None,
        finished=lambda lease, ending, state: None,
        **more,
    )


class Fails:
    """Preparing a run fails; notes when it was tried."""

    def __init__(self, error: Exception) -> None:
        self.error, self.tried = error, []

    async def __call__(self, lease: Lease) -> Any:
        self.tried.append(virtual_now())
        raise self.error


def test_a_run_that_cannot_be_prepared_is_tried_again_when_its_lease_has_run_out():
    async def main(error: Exception):
        store, prepare = MemoryStore(), Fails(error)
        await queued(store, "r")
        found = worker(store, prepare, ttl=15.0, poll=2.0)
        found.start()
        await asyncio.sleep(100)
        await found.drain(0)
        assert 5 <= len(prepare.tried) <= 8
        assert found.busy == 0

    for error in (StoreError("away"), ValueError("broken")):
        run_virtual(main(error))


def test_it_goes_on_after_a_store_that_raised_what_it_may_not():
    class Broken:
        def __init__(self) -> None:
            self.claims = 0

        async def claim(self, *args: Any, **kwargs: Any) -> Lease | None:
            self.claims += 1
            raise RuntimeError("an adapter's defect")

    async def main():
        store = Broken()
        found = worker(store, Fails(ValueError()), poll=2.0)
        found.start()
        await asyncio.sleep(21)
        assert store.claims >= 10
        await found.drain(0)

    run_virtual(main())


def test_what_it_is_claiming_when_it_drains_is_given_back():
    async def main():
        calm = MemoryStore()
        await queued(calm, "r")
        store = FaultyStore(calm, script({("claim", 1): "hold"}))
        found = worker(store, Fails(ValueError()), poll=5.0)
        found.start()
        await store.holding()
        draining = asyncio.create_task(found.drain(0))
        await asyncio.sleep(1)
        store.let_go()
        await draining
        lease = await calm.claim("other", pipelines=["p"], now=virtual_now(), ttl=1)
        assert lease is not None

    run_virtual(main())


def test_a_run_still_being_prepared_is_handed_back_by_a_drain():
    async def main():
        store = MemoryStore()
        await queued(store, "r")
        gate = asyncio.Event()
        told = []

        class Runner:
            journal = type("Journal", (), {"state": "queued"})

            def hand_back(self) -> None:
                told.append("hand back")

            async def run(self) -> str:
                return "handed back" if told else "ended"

        async def prepare(lease: Lease) -> Any:
            await gate.wait()
            return Runner()

        found = worker(store, prepare)
        found.start()
        await asyncio.sleep(1)
        draining = asyncio.create_task(found.drain(0))
        await asyncio.sleep(1)
        gate.set()
        await draining
        assert told == ["hand back"]
        assert await store.claim("other", pipelines=["p"], now=virtual_now(), ttl=1) is not None

    run_virtual(main())


def test_places_are_kept_while_runs_are_being_accepted():
    found = worker(MemoryStore(), Fails(ValueError()), max_runs=2)
    with found.place() as one, found.place() as two, found.place() as three:
        assert [one, two, three] == ["w", "w", None]
        assert not found.free
    assert found.free
    assert repr(found) == "<Worker w claiming, 0/2 runs>"
