"""Crashes, pauses, hand-overs, cancellations and deadlines in the middle of random pipelines."""

import asyncio
import random
from contextlib import suppress

import pytest

from millstream.engine.engine import Start
from millstream.errors import StoreError
from millstream.events import encode
from millstream.store import Cancellation
from millstream.testing.clock import run_virtual
from tests.simulation.house import House, Listener, bounded_channels, check_log
from tests.simulation.reference import ByLog
from tests.simulation.shapes import Book, Plan, build, plan
from tests.simulation.test_pipelines import compare, wavers


class Trouble:
    """What befalls the engines while they work."""

    def __init__(self, house: House, rng: random.Random) -> None:
        self.house, self.rng, self.made = house, rng, 0

    async def make(self, kinds: str, times: int) -> None:
        """Up to `times` troubles; there is always an engine left, or a new one comes."""
        for number in range(times):
            await asyncio.sleep(self.rng.choice([0, 0.01, 0.1, 0.7, 2.0, 5.0]) * self.rng.random())
            name = self.rng.choice([*self.house.engines])
            kind = self.rng.choice(kinds)
            if kind == "k":
                await self.house.kill(name)
            elif kind == "h":
                engine = self.house.engines.pop(name)
                await engine.aclose()
                assert not self.house.tasks(name), self.house.tasks(name)
            else:
                self.house.lines[name].hold()
                asyncio.get_running_loop().call_later(
                    self.rng.choice([3, 20, 40]), self.house.lines[name].let_go
                )
            await asyncio.sleep(self.rng.choice([0, 0.2, 20]))
            await self.house.engine(f"n{number}-")
            self.made += 1


def simulate(
    drawn: Plan, *, kinds: str = "", times: int = 2, cancel: bool = False, timeout: bool = False
) -> list[bytes]:
    """The log of one run under trouble, after every check."""

    async def main() -> list[bytes]:
        book, rng = Book(), random.Random(drawn.seed)
        graph = build(drawn, book)
        house = House({"drawn": graph}, drawn.seed, drain=rng.choice([0.0, 1.0]))
        engine = await house.engine("a")
        run, _ = await engine.start(
            Start(
                "drawn",
                encode({"x": drawn.input}),
                timeout=rng.choice([0.0, 0.01, 1.0, 3.0]) if timeout else None,
            )
        )
        listeners = [Listener(house, run.id, random.Random(drawn.seed + n)) for n in range(3)]
        async with asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.listen())
            if kinds:
                group.create_task(Trouble(house, rng).make(kinds, times))
            if cancel:
                group.create_task(cancel_some_time(house, run.id, rng))
            await house.ended(run.id)
        lines = await house.log(run.id)
        unstable = any(map(wavers, drawn.shapes))
        events = check_log(lines, graph, stable=not unstable)
        for listener in listeners:
            listener.check(lines)
        document = await next(iter(house.engines.values())).document(run.id)
        if document.state == "cancelled":
            assert cancel
            assert document.error == {"by": "test", "reason": "enough"}
        elif timeout and document.error and document.error["code"] == "deadline_exceeded":
            assert run.deadline is not None
            assert events[-1].timestamp >= run.deadline - 0.002
        elif document.state == "failed" and (document.error or {}).get("code") == "worker_lost":
            assert times > 2
        else:
            compare(drawn, graph, ByLog(drawn, book, events), document)
        await house.close()
        return lines

    with bounded_channels():
        return run_virtual(main())


async def cancel_some_time(house: House, run: str, rng: random.Random) -> None:
    await asyncio.sleep(rng.choice([0, 0, 0.01, 0.5, 2.0]))
    wanted = rng.choice([1, 2])
    while wanted:
        engine = house.engines.get(rng.choice([*house.engines] or [""]))
        if engine is None:
            await asyncio.sleep(1)
            continue
        with suppress(StoreError):  # it died just then
            await engine.cancel(run, Cancellation(by="test", reason="enough"))
            wanted -= 1
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("unstable", [False, True])
@pytest.mark.parametrize("seed", range(80))
def test_engines_that_die(seed, unstable):
    simulate(plan(2000 + seed, unstable=unstable), kinds="k")


@pytest.mark.parametrize("unstable", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_engines_that_are_cut_off_from_the_store(seed, unstable):
    simulate(plan(3000 + seed, unstable=unstable), kinds="p")


@pytest.mark.parametrize("unstable", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_engines_that_hand_back(seed, unstable):
    simulate(plan(4000 + seed, unstable=unstable), kinds="h")


@pytest.mark.parametrize("seed", range(60))
def test_cancellations_at_any_time(seed):
    simulate(plan(5000 + seed, unstable=seed % 2 == 0), cancel=True)


@pytest.mark.parametrize("seed", range(60))
def test_deadlines_of_any_length(seed):
    simulate(plan(6000 + seed, unstable=seed % 2 == 0), timeout=True)


@pytest.mark.parametrize("seed", range(80))
def test_all_of_it_at_once(seed):
    simulate(
        plan(7000 + seed, unstable=True),
        kinds="kph",
        cancel=seed % 3 == 0,
        timeout=seed % 5 == 0,
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_gives_the_same_bytes(seed):
    drawn = plan(8000 + seed, unstable=True)
    first, second = (simulate(drawn, kinds="kph", cancel=seed % 4 == 0) for _ in range(2))
    assert first == second


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 4000, 100))
def test_many_more_of_everything(start):
    for seed in range(10_000 + start, 10_100 + start):
        simulate(
            plan(seed, unstable=seed % 2 == 0, steps=12),
            kinds=["", "k", "p", "h", "kph"][seed % 5],
            times=seed % 3,
            cancel=seed % 7 == 0,
            timeout=seed % 11 == 0,
        )
