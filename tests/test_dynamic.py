"""DynamicPipeline: graphs built from a run's input, refused when asked for, recovered from it."""

import asyncio
import itertools
import random

import pytest
from msgspec import Struct

from millstream import (
    DynamicPipeline,
    Each,
    InputError,
    Pipeline,
    PipelineError,
)
from millstream.engine.engine import Engine, EngineOptions, Start
from millstream.stores.memory import MemoryStore
from millstream.testing.clock import run_virtual, virtual_now
from tests.simulation.house import NoBlobs

IDS = itertools.count()


class Recipe(Struct):
    steps: list[str]
    start: int = 1


def cook(recipe: Recipe) -> Pipeline:
    """As many steps as the recipe says."""
    made = Pipeline("made")
    for at, name in enumerate(recipe.steps):
        if name == "spoiled":
            told = "there is no step 'spoiled'"
            field = f"steps[{at}]"
            raise InputError(told, errors=[{"field": field, "message": told}])
        made.step(name=name)(adding(at))

    @made.step
    async def served(recipe: Recipe) -> int:
        return recipe.start + len(recipe.steps)

    return made


def adding(number):
    async def step(recipe: Recipe) -> int:
        return number

    return step


def engine(store, build=cook):
    pipeline = DynamicPipeline("cook", build)
    return Engine(
        {"cook": pipeline.build()},
        store,
        NoBlobs(),  # type: ignore[arg-type] - holds nothing
        now=virtual_now,
        chance=random.Random(1).random,
        new_id=lambda: f"{next(IDS):08d}",
        options=EngineOptions(drain=0.0),
    )


async def begin(at, document):
    return (await at.start(Start("cook", at.inputs["cook"].from_json(document))))[0]


async def ended(at, run):
    follower = await at.follow(run.id, 0)
    async for _ in follower.batches():
        pass
    follower.close()
    return await at.document(run.id)


def test_each_run_has_the_graph_of_its_input():
    async def main():
        at = engine(MemoryStore())
        await at.open()
        runs = [await begin(at, b'{"steps": ["a", "b"]}'), await begin(at, b'{"steps": []}')]
        told = [await ended(at, run) for run in runs]
        await at.aclose()
        return [(document.state, document.result) for document in told]

    assert run_virtual(main()) == [
        ("completed", {"a": 0, "b": 1, "served": 3}),
        ("completed", 1),
    ]


def test_what_cannot_be_built_is_refused_when_it_is_asked_for():
    at = engine(MemoryStore())
    with pytest.raises(InputError, match="spoiled") as told:
        at.inputs["cook"].from_json(b'{"steps": ["a", "spoiled"]}')
    assert told.value.errors[0]["field"] == "steps[1]"
    with pytest.raises(InputError, match="steps"):
        at.inputs["cook"].from_json(b'{"steps": 3}')


def test_another_engine_builds_the_same_graph_and_goes_on():
    store = MemoryStore()
    calls: list[str] = []
    held = asyncio.Event()

    def halting(recipe: Recipe) -> Pipeline:
        made = Pipeline("made")

        @made.step
        async def first(recipe: Recipe) -> list[int]:
            calls.append("first")
            return [1, 2, 3]

        @made.step
        async def then(first: Each[int]) -> int:
            calls.append(f"then {first}")
            if calls.count("then 2") == 1 and first == 2:
                held.set()
                await asyncio.Event().wait()  # until the engine hands the run back
            return first * 10

        return made

    async def main():
        one, other = engine(store, halting), engine(store, halting)
        one.worker.start()
        run = await begin(one, b'{"steps": []}')
        await held.wait()
        await one.worker.drain(0)
        other.worker.start()
        document = await ended(other, run)
        await other.worker.drain(0)
        return document

    document = run_virtual(main())
    assert (document.state, document.result) == ("completed", [10, 20, 30])
    assert calls == ["first", "then 1", "then 2", "then 2", "then 3"]


def test_a_run_whose_graph_cannot_be_built_any_more_fails_and_says_why():
    async def main():
        store = MemoryStore()
        before = engine(store)
        run = await begin(before, b'{"steps": ["a"]}')  # not open: nobody works on it yet

        def refuse(recipe: Recipe) -> Pipeline:
            raise InputError("step 'a' is no longer offered")

        after = engine(store, refuse)
        await after.open()
        document = await ended(after, run)
        await after.aclose()
        return document

    document = run_virtual(main())
    assert document.state == "failed"
    assert document.error is not None
    assert document.error["code"] == "input_invalid"
    assert "no longer offered" in document.error["message"]


def test_an_amended_input_is_what_a_run_is_taken_up_by():
    async def main():
        store = MemoryStore()
        before = engine(store)
        run = await begin(before, b'{"steps": ["a"]}')
        with pytest.raises(InputError):
            await before.amend(run.id, b'{"steps": ["spoiled"]}')
        await before.amend(run.id, b'{"steps": ["b", "c"]}')
        after = engine(store)
        await after.open()
        document = await ended(after, run)
        await after.aclose()
        return document

    assert run_virtual(main()).result == {"b": 0, "c": 1, "served": 3}


def two(one: Recipe, other: Recipe) -> Pipeline:
    return Pipeline("x")


def test_a_declaration_that_cannot_work_is_refused():
    with pytest.raises(PipelineError, match="one parameter"):
        DynamicPipeline("cook", two).build()  # type: ignore[arg-type] - that is the point
    with pytest.raises(PipelineError, match="from each run's input"):
        DynamicPipeline("cook", cook).step(name="more")(adding(1))
