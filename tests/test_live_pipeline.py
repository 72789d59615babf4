"""Building live pipelines: what each annotation means, and every mistake with its fix."""

import copy
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from millstream.annotations import NOTHING, Batch, Each, From, In, Nothing, Out, Stream
from millstream.core.graph import Reading
from millstream.errors import PipelineError, PolicyError
from millstream.pipeline import Pipeline
from millstream.policy import LIVE_BUFFER, Breaker, Buffer


def live() -> Pipeline:
    """s yields floats; f is a function of them; w is a window."""
    p = Pipeline("p", live=True)

    @p.step(executor="inline")
    def s() -> Iterator[float]:
        yield 1.0

    @p.step(executor="inline")
    def f(s: Each[float]) -> float:
        return s

    @p.step
    async def w(f: Stream[float]) -> AsyncIterator[int]:
        yield 1

    return p


def test_readings_origins_and_what_is_published():
    p = live()

    @p.step(ports=("a", "b"), publish="watched")
    def g(f: float, w_of: Annotated[Each[float], From("s")] = 0.0) -> Out[float] | Nothing:
        return NOTHING

    @p.step
    def h(x: Annotated[Each[In[float]], From("g", port="a", tag="x"), From("s")]) -> None: ...

    @p.step(buffer=Buffer(batch=10))
    def b(w: Batch[int]) -> int:
        return 0

    graph = p.build()
    assert graph.live
    assert graph.origins == {"s": "s", "f": "s", "w": "w", "g": "s", "h": "h", "b": "b"}
    steps = graph.steps
    assert [a.id for a in steps["g"].arrows] == ["f:out->g:f", "s:out->g:w_of"]
    assert [(a.id, a.tag) for a in steps["h"].arrows] == [("g:a->h:x", "x"), ("s:out->h:s", "s")]
    assert steps["b"].arrows[0].reading is Reading.BATCH
    assert (steps["g"].sieves, steps["g"].returns) == (True, float)
    published = {name: step.publish for name, step in steps.items()}
    assert published == {
        "s": "never",
        "f": "never",
        "w": "never",
        "g": "watched",
        "h": "watched",
        "b": "watched",
    }
    assert steps["f"].buffer == LIVE_BUFFER
    assert graph.outputs == ("h", "b")


def test_built_by_a_program_it_is_the_same_graph():
    def s() -> Iterator[float]:
        yield 1.0

    def f(s: Each[float]) -> float:
        return s

    one, other = Pipeline("p", live=True), Pipeline("p", live=True)
    one.step(executor="inline")(s)
    one.step(executor="inline")(f)
    other.add("s", s, executor="inline")
    other.add("f", f, arrows={"s": From("s")}, executor="inline")
    assert one.build() == other.build()


def test_names_may_be_anything_and_parameters_bare():
    p = Pipeline("p", live=True)

    def source():
        yield 1

    p.add("node-1", source, executor="inline")
    p.add("node 2", lambda value: value, arrows={"value": From("node-1")}, executor="inline")
    graph = p.build()
    assert graph.steps["node 2"].arrows[0].reading is Reading.EACH
    assert graph.steps["node 2"].arrows[0].id == "node-1:out->node 2:value"


def adding(function: Callable[..., Any], **policies: Any) -> Callable[[Pipeline], Any]:
    return lambda p: p.step(**policies)(function)


def as_list(f: list[float]) -> int: ...
def whole(s: float) -> int: ...
def wrong(f: str) -> int: ...
def other_origin(f: float, w: Each[int]) -> int: ...
def stream_and_value(w: Stream[int], f: float) -> int: ...
def of_input(x: Each[int]) -> int: ...
def unknown(x: Annotated[float, From("ff")]) -> int: ...
def bad_port(x: Annotated[float, From("f", port="a")]) -> int: ...
def an_out(f: float) -> Out[float]: ...
def no_out(f: float) -> float: ...
def merged(x: Annotated[Each[float], From("f"), From("s")], f: float) -> int: ...
def two_batches(f: Batch[float], w: Batch[int]) -> int: ...
def itself(x: Annotated[float, From("itself")]) -> float: ...
def twice(x: Annotated[float, From("f"), From("f")]) -> float: ...
async def ending(f: Stream[float]) -> int: ...
def plainly(f: Stream[float]) -> Iterator[float]:
    yield from f


def source() -> Iterator[int]:
    yield 1


def after_the_end(p: Pipeline) -> None:
    p.step(ending)
    p.add("late", lambda ending: ending)


MISTAKES = {
    "no end.*Stream.float.*Batch.float": adding(as_list),
    "gives many values; annotate it Each.float": adding(whole),
    "asks for str, but 'f' gives float": adding(wrong),
    "messages of 'w'.*neither knows the other's numbers": adding(other_origin),
    "another parameter is read per message": adding(stream_and_value),
    "it is the input of a live pipeline": adding(of_input),
    "'ff', which is no step; did you mean 'f'": adding(unknown),
    "port 'a' of 'f', which has 'out'": adding(bad_port),
    "gives an Out, but declares no ports": adding(an_out),
    "declares ports but gives float": adding(no_out, ports=("a", "b")),
    "a name stands twice": adding(an_out, ports=("a", "a")),
    "merges several steps": adding(merged),
    "two parameters as Batch": adding(two_batches),
    "reads the step itself": adding(itself),
    r"reads 'f' twice by the same arrow": adding(twice),
    "has a value only when its Stream has ended": after_the_end,
    "would hold up the event loop": adding(plainly, executor="inline"),
    "it is called once, so drop concurrency=": adding(plainly, concurrency=2),
    "not in a process": adding(source, executor="process"),
    "use retry= to begin it anew": adding(source, breaker=Breaker()),
    "reads nothing: drop buffer=": adding(source, buffer=Buffer(on_full="latest")),
    "'y', which the function does not take": lambda p: p.add("g", whole, arrows={"y": From("s")}),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_a_mistake_is_said_with_its_fix(said):
    def build() -> None:
        p = live()
        MISTAKES[said](p)
        p.build()

    with pytest.raises(PipelineError, match=said):
        build()


DURABLE = {
    "breaker= is for live": {"breaker": Breaker()},
    "ports= is for live": {"ports": ("a",)},
    "publish= is for live": {"publish": "watched"},
    "loses messages or adapts its size is for live": {"buffer": Buffer(on_full="latest")},
    "by parameter is for live": {"buffer": {"x": 3}},
}


@pytest.mark.parametrize("said", DURABLE)
def test_what_live_pipelines_alone_can_do(said):
    with pytest.raises(PipelineError, match=said):
        Pipeline("p").step(**DURABLE[said])(of_input)


def test_from_and_batch_need_a_live_pipeline():
    for function in (unknown, two_batches):
        p = Pipeline("p")
        p.step(function)
        with pytest.raises(PipelineError, match="is for live pipelines"):
            p.build()
    with pytest.raises(PipelineError, match="arrows= is for live pipelines"):
        Pipeline("p").add("f", whole, arrows={"s": From("x")})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Buffer(on_full="drop"),  # type: ignore[arg-type]
        lambda: Buffer(high=0),
        lambda: Buffer(batch=0),
        lambda: Buffer(linger=-1),
        lambda: Buffer(priority="urgent"),  # type: ignore[arg-type]
        lambda: Buffer(key=str),
        lambda: Breaker(failures=0),
        lambda: Breaker(per=0),
        lambda: Breaker(open_for=0),
    ],
)
def test_a_policy_out_of_range_is_refused(make):
    with pytest.raises(PolicyError):
        make()


def test_nothing_is_one_value_and_travels_whole():
    assert repr(NOTHING) == "NOTHING"
    assert copy.deepcopy(NOTHING) is NOTHING
    assert pickle.loads(pickle.dumps(NOTHING)) is NOTHING
