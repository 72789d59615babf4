"""Declaring a graph: what is accepted, and what it becomes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Optional

import pytest

from millstream import Context, Each, Pipeline, Processes, Stream
from millstream.core.graph import Reading
from tests.declaring import Data, Model, Odd, Record, Typed, mapped, source
from tests.pipeline_postponed import local_types


def readings(flow: Pipeline) -> dict[str, list[str]]:
    """How each step's parameters read their upstreams, in order."""
    return {s.name: [a.reading.value for a in s.arrows] for s in flow.build().steps.values()}


def test_every_reading_and_its_scope():
    flow = Pipeline("mill")

    @flow.step
    def page(urls: Each[str]) -> str: ...

    @flow.step
    def links(page: str, urls: list[str]) -> list[str]: ...

    @flow.step
    def target(links: Each[str], page: str) -> str: ...

    @flow.step
    def letters(target: str) -> Iterator[str]:
        yield target

    @flow.step
    async def word(letters: Stream[str]) -> str: ...

    @flow.step
    def targets(target: list[str]) -> str: ...

    @flow.step
    async def pages(page: Stream[str]) -> str: ...

    @flow.step
    def whole(targets: list[str], urls: list[str]) -> str: ...

    graph = flow.build()
    assert readings(flow) == {
        "page": ["each"],
        "links": ["value", "value"],
        "target": ["each", "value"],
        "letters": ["value"],
        "word": ["stream"],
        "targets": ["list"],
        "pages": ["stream"],
        "whole": ["list", "value"],
    }
    assert graph.scopes == {
        "urls": (),
        "page": ("urls",),
        "links": ("urls",),
        "target": ("urls", "links"),
        "letters": ("urls", "links"),
        "word": ("urls", "links"),
        "targets": ("urls",),
        "pages": (),
        "whole": (),
    }
    assert graph.outputs == ("pages", "word", "whole")  # as built: each after those it reads
    assert (graph.input, graph.input_type) == ("urls", list[str])
    assert graph.maps == {"urls", "links"}


def test_a_source_begins_by_itself():
    flow = Pipeline("mill")

    @flow.step
    async def ticks(ctx: Context) -> AsyncIterator[int]:
        yield 1

    @flow.step
    def doubled(ticks: Each[int]) -> int: ...

    graph = flow.build()
    assert (graph.input, graph.steps["ticks"].source) == (None, True)
    assert graph.steps["ticks"].returns is int
    assert graph.scopes["doubled"] == ("ticks",)


def test_steps_stand_after_those_they_read_whatever_the_order_of_declaration():
    flow = Pipeline("mill")

    @flow.step
    def last(middle: str) -> str: ...

    @flow.step
    def middle(first: str) -> str: ...

    @flow.step
    def first(text: str) -> str: ...

    assert list(flow.build().steps) == ["first", "middle", "last"]


@pytest.mark.parametrize(
    ("gives", "asks"),
    [
        (str, str),
        (int, float),
        (bool, int),
        (str, Optional[str]),  # noqa: UP045
        (str, str | None),
        (str, Any),
        (Any, str),
        (str, object),
        (list[str], list),
        (Model, Model),
        (Data, Data),
        (Record, Record),
        (Typed, Typed),
        (list[Model | None], list[Model | None]),
        (dict[str, list[Data]], dict[str, list[Data]]),
        (None, None),
    ],
)
def test_types_that_fit(gives, asks):
    flow = Pipeline("mill")
    source(flow, of=gives)

    def reader(numbers): ...

    reader.__annotations__["numbers"] = asks
    flow.step(reader)
    assert flow.build().steps["reader"].arrows[0].reading is Reading.VALUE


def test_without_annotations():
    flow = Pipeline("mill")
    flow.step(name="a")(lambda text: text)
    flow.step(name="b")(lambda a, text: text)
    graph = flow.build()
    assert (graph.input, graph.input_type) == ("text", Any)
    assert graph.steps["b"].returns is Any


def test_the_context_may_stand_anywhere_and_be_optional():
    flow = Pipeline("mill")

    @flow.step
    def a(ctx: Context, text: str) -> str: ...

    @flow.step
    def b(a: str, me: Context | None) -> str: ...

    graph = flow.build()
    assert [step.context for step in graph.steps.values()] == ["ctx", "me"]
    assert [len(step.arrows) for step in graph.steps.values()] == [1, 1]


def test_a_parameter_with_a_default_is_an_arrow_only_where_a_step_has_its_name():
    flow = Pipeline("mill")

    @flow.step
    def a(text: str, limit: int = 3) -> str: ...

    @flow.step
    def b(text: str, a: str = "") -> str: ...

    steps = flow.build().steps
    assert [arrow.source for arrow in steps["a"].arrows] == ["text"]
    assert [arrow.source for arrow in steps["b"].arrows] == ["text", "a"]


@pytest.mark.parametrize("fits", [lambda text: text, lambda text, more=1: text])
def test_a_fallback_of_the_same_parameters(fits):
    flow = Pipeline("mill")
    source(flow, fallback=fits)
    assert flow.build().steps["numbers"].fallback is fits


def test_types_local_to_a_function():
    @dataclass
    class Local:
        a: int

    flow = Pipeline("mill")

    @flow.step
    def a(text: str) -> "Local": ...

    @flow.step
    def b(a: "Local") -> "list[Local]": ...

    steps = flow.build().steps
    assert (steps["a"].returns, steps["b"].returns) == (Local, list[Local])


def test_postponed_annotations_local_to_a_function():
    flow = local_types()
    assert readings(flow) == {
        "page": ["each"],
        "letters": ["value"],
        "word": ["stream"],
        "book": ["list", "list"],
    }
    assert flow.build().scopes["book"] == ()


def test_what_is_internal_may_be_anything():
    flow = Pipeline("mill")
    source(flow, of=Odd, internal=True)

    @flow.step
    def b(numbers: Odd) -> str: ...

    assert flow.build().outputs == ("b",)


def test_a_list_of_lists_is_read_whole_by_its_own_item_and_collected_by_an_outer_step():
    flow = Pipeline("mill")
    mapped(flow, of=list[str])

    @flow.step
    def same(each: list[str]) -> str: ...

    @flow.step
    def every(each: list[list[str]]) -> str: ...

    assert readings(flow) == {"each": ["each"], "same": ["value"], "every": ["list"]}


def test_kinds_of_functions_and_where_they_run():
    flow = Pipeline("mill")

    class Whole:
        async def __call__(self, plain: str) -> str: ...

    @flow.step
    def plain(text: str) -> str: ...

    flow.step(name="whole")(Whole())

    @flow.step(executor=Processes(workers=1))
    def pooled(plain: str) -> Iterator[str]:
        yield plain

    steps = flow.build().steps
    assert {s.name: (s.executor, s.asynchronous, s.yields) for s in steps.values()} == {
        "plain": ("thread", False, False),
        "whole": ("inline", True, False),
        "pooled": (Processes(workers=1), False, True),
    }


def test_a_pipeline_says_what_it_is():
    flow = Pipeline("mill")
    assert repr(flow) == "<Pipeline 'mill' open, steps: none>"
    source(flow)
    flow.build()
    assert repr(flow) == "<Pipeline 'mill' built, steps: numbers>"
