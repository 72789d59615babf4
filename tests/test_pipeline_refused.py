"""Declaring a graph: what is refused, and in which words."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from millstream import Buffer, Context, Each, Pipeline, Processes, Retry, Stream
from millstream.errors import PipelineError, PolicyError
from millstream.pipeline import built
from tests.declaring import Odd, mapped, source

Declare = Callable[[Pipeline], object]
refusals: list[Any] = []


def refused(*words: str, **kinds: Any) -> Callable[[Declare], Declare]:
    """The pipeline that this declares is refused, in a message with all these words."""

    def note(declare: Declare) -> Declare:
        refusals.append(pytest.param(declare, words, id=declare.__name__))
        return declare

    return note


@refused("the steps a -> b -> c -> a", "wait for each other", "rename a parameter")
def cycle(flow):
    @flow.step
    def a(c: str) -> str: ...

    @flow.step
    def b(a: str) -> str: ...

    @flow.step
    def c(b: str) -> str: ...


@refused("step 'a', parameter 'a'", "reads the step itself")
def itself(flow):
    @flow.step
    def a(a: str) -> str: ...


@refused("'text' (of step 'numbers')", "'numbrs' (of step 'sum')", "did you mean 'numbers'?")
def misspelled(flow):
    source(flow)

    @flow.step(name="sum")
    def total(numbrs: str) -> str: ...


@refused("'text'", "'zebra' (of step 'b')", "the pipeline's input. Use one name", "name a step")
def two_inputs(flow):
    source(flow)

    @flow.step
    def b(zebra: str) -> str: ...


@refused("step 'b', parameter 'numbers'", "asks for int, but 'numbers' gives str", "it str")
def mismatch(flow):
    source(flow)

    @flow.step
    def b(numbers: int) -> str: ...


@refused("step 'b', parameter 'each'", "asks for int", "str", "or list[str] for all of them")
def mismatch_below_a_map(flow):
    mapped(flow)

    @flow.step
    def b(each: int) -> str: ...


@refused("'numbers' gives list[str]", "or Each[...] or Stream[...] for one value at a time")
def mismatch_of_a_yielding_step(flow):
    @flow.step
    def numbers(text: str) -> Iterator[str]:
        yield text

    @flow.step
    def b(numbers: str) -> str: ...


@refused("asks for int, but 'numbers' gives str", "annotate it Stream[str]")
def mismatch_in_a_stream(flow):
    @flow.step
    def numbers(text: str) -> Iterator[str]:
        yield text

    @flow.step
    async def b(numbers: Stream[int]) -> str: ...


@refused("asks for int, but 'numbers' gives str", "annotate it Each[str]")
def mismatch_in_a_map(flow):
    source(flow, of=list[str])

    @flow.step
    def b(numbers: Each[int]) -> str: ...


@refused("is Each, but 'numbers' gives one str", "annotate it str", "yield or return a list")
def each_of_one(flow):
    source(flow)

    @flow.step
    def b(numbers: Each[str]) -> str: ...


@refused("is a Stream, but 'numbers' gives one value", "annotate it str", "let 'numbers' yield")
def stream_of_one(flow):
    source(flow)

    @flow.step
    async def b(numbers: Stream[str]) -> str: ...


@refused("parameter 'text' is a Stream of the input", "annotate list[...] or Each[...]")
def stream_of_the_input(flow):
    @flow.step
    async def b(text: Stream[str]) -> str: ...


@refused("parameter 'each' is a Stream", "`async for`", "`async def`, or annotate list[...]")
def stream_in_a_plain_function(flow):
    mapped(flow)

    @flow.step
    def b(each: Stream[str]) -> str: ...


@refused("step 'numbers' is optional, so its value may be None; annotate str | None")
def optional(flow):
    source(flow, optional=True)

    @flow.step
    def b(numbers: str) -> str: ...


@refused("step 'each' is optional, so its value may be None; annotate str | None")
def optional_below_a_map(flow):
    mapped(flow, optional=True)

    @flow.step
    def b(each: str) -> str: ...


@refused("step 'each' is optional, so its value may be None; annotate list[str | None]$")
def optional_collected(flow):
    mapped(flow, optional=True)

    @flow.step
    def b(each: list[str]) -> str: ...


@refused("step 'each' is optional", "annotate Stream[str | None]$")
def optional_streamed(flow):
    mapped(flow, optional=True)

    @flow.step
    async def b(each: Stream[str]) -> str: ...


@refused("asks for list[int], but 'each' gives list[str | None]", "it list[str | None]$")
def optional_and_of_another_type(flow):
    mapped(flow, optional=True)

    @flow.step
    def b(each: list[int]) -> str: ...


@refused("step 'b' has no inputs and does not yield", "name the input", "yield to make it a source")
def nothing_starts_it(flow):
    @flow.step
    def b() -> str: ...


@refused("step 'b' has no inputs and does not yield")
def a_context_is_no_input(flow):
    @flow.step
    def b(ctx: Context) -> str: ...


@refused("step 'b', parameter 'more': one Context is enough")
def two_contexts(flow):
    @flow.step
    def b(text: str, ctx: Context, more: Context) -> str: ...


@refused("step 'numbers': there is a step of this name", "name=")
def one_name_twice(flow):
    source(flow)
    source(flow)


@refused("step 'b': takes *rest", "names every parameter")
def variable_arguments(flow):
    @flow.step
    def b(text: str, *rest: str) -> str: ...


@refused("step 'b': takes *rest", "names every parameter")
def variable_keywords(flow):
    @flow.step
    def b(text: str, **rest: str) -> str: ...


@refused("step 'b', parameter 'text' is positional-only", "drop the `/`")
def positional_only(flow):
    @flow.step
    def b(text: str, /) -> str: ...


@refused("step 'b': the fallback 'cheap' must take the same parameters", "(text)", "(word)")
def fallback_of_other_parameters(flow):
    def cheap(word: str) -> str: ...

    @flow.step(fallback=cheap)
    def b(text: str) -> str: ...


@refused("step 'b': an async function runs in the event loop", "plain `def`", "drop executor=")
def async_in_a_thread(flow):
    @flow.step(executor="thread")
    async def b(text: str) -> str: ...


@refused("step 'b'", "executor='gpu': one of 'inline', 'thread', 'process', or Processes")
def unknown_executor(flow):
    @flow.step(executor="gpu")
    def b(text: str) -> str: ...


@refused("step 'b': timeout=0: seconds, more than 0")
def no_time(flow):
    @flow.step(timeout=0)
    def b(text: str) -> str: ...


@refused("step 'b': concurrency=0: at least 1")
def no_concurrency(flow):
    @flow.step(concurrency=0)
    def b(text: str) -> str: ...


@refused("step 'b': buffer=0: at least 1")
def no_buffer(flow):
    @flow.step(buffer=0)
    def b(text: str) -> str: ...


@refused("step 'both'", "'right' comes once per item of 'b'", "'left' once per item of 'a'", "list")
def two_maps(flow):
    for name in "ab":

        def many(text: str) -> list[str]: ...

        flow.step(name=name)(many)

    @flow.step
    def left(a: Each[str]) -> str: ...

    @flow.step
    def right(b: Each[str]) -> str: ...

    @flow.step
    def both(left: str, right: str) -> str: ...


@refused("parameter 'words'", "once per item of 'texts'", "Stream comes once", "as list[...]")
def a_stream_beside_an_inner_map(flow):
    @flow.step
    async def words() -> AsyncIterator[str]:
        yield ""

    @flow.step
    async def both(texts: Each[str], words: Stream[str]) -> str: ...


@refused("parameter 'two': a step reads one Stream", "take one as list[...]")
def two_streams(flow):
    for name in ("one", "two"):

        def many(text: str) -> Iterator[str]:
            yield text

        flow.step(name=name)(many)

    @flow.step
    async def both(one: Stream[str], two: Stream[str]) -> str: ...


@refused("step 'letters' reads a Stream per item", "drop concurrency=")
def a_stream_per_item_a_few_at_a_time(flow):
    @flow.step
    def each(texts: Each[str]) -> Iterator[str]:
        yield texts

    @flow.step(concurrency=2)
    async def letters(each: Stream[str]) -> str: ...


@refused("parameter 'inner' maps over 'inner'", "internal", "drop internal=True")
def a_map_over_an_internal_step_per_item(flow):
    @flow.step(internal=True)
    def inner(texts: Each[str]) -> list[str]: ...

    @flow.step
    def b(inner: Each[str]) -> str: ...


@refused("step 'numbers': what it returns is published", "Odd cannot be", "internal=True")
def unreadable_result(flow):
    source(flow, of=Odd)


@refused("step 'numbers'", "list[Odd] cannot be read back from JSON", "return a model")
def unreadable_elements(flow):
    source(flow, of=list[Odd])


@refused("step 'b': the annotation 'Nowhere' cannot be resolved", "import that type")
def unresolvable(flow):
    def b(text: "Nowhere") -> str: ...  # noqa: F821  # pyright: ignore

    flow.step(b)


@refused("step 'b', parameter 'text' reads the input as int, but step 'numbers'", "as str")
def two_types_of_input(flow):
    source(flow)

    @flow.step
    def b(text: int) -> str: ...


@refused("has no steps", "@.step")
def nothing(flow):
    pass


def made(declare: Declare) -> None:
    flow = Pipeline("mill")
    declare(flow)
    flow.build()


@pytest.mark.parametrize(("declare", "words"), refusals)
def test_refused(declare, words):
    with pytest.raises(PipelineError) as caught:
        made(declare)
    said = caught.value.message
    assert said.startswith("pipeline 'mill'")
    for word in words:
        assert f"{said}$".find(word) >= 0, said


def test_no_change_after_the_build():
    flow = Pipeline("mill")
    source(flow)
    graph = flow.build()
    with pytest.raises(PipelineError, match=r"step 'late': the pipeline is built.*declare every"):
        flow.step(name="late")(lambda text: text)
    assert flow.build() is graph


@pytest.mark.parametrize("name", ["", "1st", "a b", "a/b"])
def test_a_name_stands_in_urls(name):
    with pytest.raises(PipelineError, match=re.escape(repr(name))):
        Pipeline(name)


def test_two_pipelines_of_one_name():
    one, other = Pipeline("mill"), Pipeline("other")
    source(one)
    source(other)
    assert list(built([one, other])) == ["mill", "other"]
    with pytest.raises(PipelineError, match="two pipelines are named 'mill'; rename one"):
        built([one, other, Pipeline("mill")])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(attempts=0),
        lambda: Retry(base=-1),
        lambda: Retry(cap=-1),
        lambda: Retry(factor=0.5),
        lambda: Retry(jitter=1.1),
        lambda: Retry(budget=-0.1),
        lambda: Retry(reserve=-1),
        lambda: Buffer(0),
        lambda: Processes(workers=0),
    ],
)
def test_a_policy_outside_its_range(make):
    with pytest.raises(PolicyError, match=r"^(Retry|Buffer|Processes).*\d"):
        make()
