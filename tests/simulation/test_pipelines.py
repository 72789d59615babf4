"""Random pipelines come to what a naive interpreter says, in one engine that nothing disturbs."""

import asyncio
import random

import pytest

from millstream.engine.engine import Start
from millstream.events import encode
from millstream.testing.clock import run_virtual
from tests.simulation.house import House, Listener, bounded_channels, check_log, raw
from tests.simulation.reference import ByLog, ByPolicy, Final, Interpreter
from tests.simulation.shapes import Book, Plan, Shape, build, plan


def wavers(shape: Shape) -> bool:
    """Whether what it gives may come again, or which attempt counts is for the log to say."""
    return bool(shape.unstable or shape.fallback or shape.stops_after or shape.timeout)


def simulate(drawn: Plan) -> list[bytes]:
    """The log of one undisturbed run, after every check."""

    async def main() -> list[bytes]:
        book = Book()
        graph = build(drawn, book)
        house = House({"drawn": graph}, drawn.seed)
        engine = await house.engine("a")
        run, _ = await engine.start(Start("drawn", encode({"x": drawn.input})))
        listeners = [Listener(house, run.id, random.Random(drawn.seed + n)) for n in range(2)]
        async with asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.listen())
            await house.ended(run.id)
        lines = await house.log(run.id)
        unstable = any(map(wavers, drawn.shapes))
        events = check_log(lines, graph, stable=not unstable)
        for listener in listeners:
            listener.check(lines)
        document = await engine.document(run.id)
        final: Final = ByPolicy(drawn)
        if unstable:
            final = ByLog(drawn, book, events)
        compare(drawn, graph, final, document)
        await house.close()
        return lines

    with bounded_channels():
        return run_virtual(main())


def compare(drawn: Plan, graph, final: Final, document) -> None:
    if document.state == "failed":
        step = document.error.get("step")
        assert step is not None, document.error
        shape = next(s for s in drawn.shapes if s.name == step)
        assert not graph.scopes[step]
        assert not shape.optional
        return
    assert document.state == "completed", document
    meant = Interpreter(drawn, graph, final).run()
    assert not meant.failed
    names = graph.outputs
    result = {names[0]: document.result} if len(names) == 1 else document.result
    for name in names:
        found = result[name]
        if len(graph.scopes[name]) > 1:
            found = sorted(found, key=repr)
        assert raw(found) == raw(meant.result[name]), (name, found, meant.result[name])
    missing: dict[str, int] = {}
    for each in document.missing:
        if each["code"] != "input_failed":
            missing[each["step"]] = missing.get(each["step"], 0) + 1
    assert missing == meant.missing, (missing, meant.missing)


@pytest.mark.parametrize("seed", range(150))
def test_undisturbed_runs_come_to_what_the_interpreter_says(seed):
    simulate(plan(seed))


@pytest.mark.parametrize("seed", range(1000, 1150))
def test_steps_that_yield_other_values_when_tried_again(seed):
    simulate(plan(seed, unstable=True))
