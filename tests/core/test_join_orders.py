"""Joins under every interleaving of their arrows: the same calls, each once, and nothing kept."""

from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millstream.annotations import Each, Stream
from millstream.core.graph import Graph, Path
from millstream.core.join import (
    Cancel,
    CutOff,
    Decision,
    Drop,
    Feed,
    Finish,
    Forward,
    Join,
    Ready,
    Skip,
)
from millstream.core.messages import End, Failed, Item, Message, Void
from millstream.pipeline import Pipeline
from millstream.policy import Retry

ROOT: Path = ()


def graph() -> Graph:
    """Maps within maps, for the joins of the steps at the end."""
    pipeline = Pipeline("p")

    @pipeline.step(retry=Retry(attempts=2))
    async def shaky(start: str) -> AsyncIterator[str]:
        yield start

    @pipeline.step
    async def urls(start: str) -> list[str]:
        return [start]

    @pipeline.step
    async def a(urls: Each[str]) -> int:
        return 1

    @pipeline.step
    async def b(urls: Each[str]) -> int:
        return 1

    @pipeline.step
    async def parts(urls: Each[str]) -> AsyncIterator[str]:
        yield urls

    @pipeline.step
    async def part(parts: Each[str]) -> str:
        return parts

    @pipeline.step
    async def gathers(a: int, b: int, part: list[str], start: str) -> int:
        return 1

    @pipeline.step
    async def inner(part: str, parts: Each[str], a: int, start: str) -> int:
        return 1

    @pipeline.step
    async def reads(parts: Stream[str], a: int) -> int:
        return 1

    @pipeline.step
    async def c(shaky: Each[str]) -> int:
        return 1

    @pipeline.step
    async def d(shaky: Each[str]) -> int:
        return 1

    @pipeline.step
    async def both(c: int, d: int, start: str) -> int:
        return 1

    @pipeline.step
    async def rereads(shaky: Stream[str], start: str) -> int:
        return 1

    return pipeline.build()


GRAPH = graph()


def starts(path: Path, prefix: Path) -> bool:
    return path[: len(prefix)] == prefix


class Reader:
    """Does what a step's loop does with decisions, as far as it can be seen from outside."""

    def __init__(self, step: str) -> None:
        self.join = Join(GRAPH, GRAPH.steps[step])
        self.calls: dict[Path, dict[str, Any]] = {}
        self.skipped: set[Path] = set()
        self.cut: set[Path] = set()
        self.streams: dict[Path, list[tuple[int, Any]]] = {}
        self.finished: set[Path] = set()
        self.ends: dict[Path, Message] = {}
        self.performed = 0

    def feed(self, parameter: str, message: Message) -> None:
        for decision in self.join.feed(parameter, message):
            self.act(decision)

    def act(self, decision: Decision) -> None:
        match decision:
            case Ready(path, arguments):
                assert path not in self.calls, f"called twice: {path}"
                self.not_ended(path)
                self.calls[path] = arguments
                self.performed += 1
            case CutOff(path):
                del self.calls[path]
                self.cut.add(path)
            case Skip(path):
                assert path not in self.skipped, f"skipped twice: {path}"
                assert path not in self.calls, f"skipped after the call: {path}"
                self.not_ended(path)
                self.skipped.add(path)
            case Cancel(path):
                assert (path in self.calls) != (path in self.skipped)
                self.calls.pop(path, None)
                self.skipped.discard(path)
            case Feed(path, number, value):
                assert path not in self.finished
                self.streams.setdefault(path, []).append((number, value))
            case Drop(path, number):
                kept = self.streams.get(path, [])
                self.streams[path] = [] if number is None else [v for v in kept if v[0] != number]
            case Finish(path):
                self.finished.add(path)
            case Forward(message):
                self.forward(message)

    def not_ended(self, path: Path) -> None:
        assert not any(starts(path, end) for end in self.ends), f"after its end: {path}"

    def forward(self, message: Message) -> None:
        if isinstance(message, Void):
            for below in [path for path in self.ends if starts(path, message.path)]:
                del self.ends[below]
            return
        assert message.path not in self.ends, f"told twice: {message}"
        self.ends[message.path] = message

    def empty(self) -> bool:
        j = self.join
        kept = (j.entries, j.waiting, j.collections, j.heard, j.closing, j.streaming, j.skipped)
        return not any(kept) and not any(j.broadcast.values())


@st.composite
def interleaved(draw, arrows: dict[str, list[Message]]) -> list[tuple[str, Message]]:
    """The arrows' messages, each arrow in its own order."""
    left = {name: list(messages) for name, messages in arrows.items() if messages}
    merged = []
    while left:
        name = draw(st.sampled_from(sorted(left)))
        merged.append((name, left[name].pop(0)))
        if not left[name]:
            del left[name]
    return merged


def outcomes(count: int) -> st.SearchStrategy[list[bool]]:
    return st.lists(st.booleans() | st.just(True), min_size=count, max_size=count)


@st.composite
def nested(draw) -> dict[str, Any]:
    """Two levels of a map, some items of which fail; of an outer item that fails, some came."""
    sizes = draw(st.lists(st.integers(0, 3), max_size=3))
    return {
        "sizes": sizes,
        "a": draw(outcomes(len(sizes))),
        "b": draw(outcomes(len(sizes))),
        "parts": draw(outcomes(len(sizes))),
        "part": [draw(outcomes(size)) for size in sizes],
    }


@st.composite
def per_item(draw, found: dict[str, Any], name: str) -> list[Message]:
    """One arrow at the outer level, in any order."""
    items = [
        Item((i,), f"{name}{i}") if good else Failed((i,)) for i, good in enumerate(found[name])
    ]
    return [*draw(st.permutations(items)), End(ROOT, len(items))]


@st.composite
def scrambled(draw, found: dict[str, Any], name: str, *, ordered: bool = False) -> list[Message]:
    """One arrow at the inner level: any order of items, each end behind what it ends."""
    groups: dict[str, list[Message]] = {}
    for i, size in enumerate(found["sizes"]):
        group: list[Message] = []
        for k in range(size) if ordered else draw(st.permutations(range(size))):
            good = name == "parts" or found["part"][i][k]
            group.append(Item((i, k), f"{name}{i}{k}") if good else Failed((i, k)))
        group.append(End((i,), size) if found["parts"][i] else Failed((i,)))
        groups[str(i)] = group
    merged = [message for _, message in draw(interleaved(groups))]
    return [*merged, End(ROOT, len(groups))]


@given(st.data())
def test_items_lists_and_outer_values_come_together(data):
    found = data.draw(nested())
    arrows = {
        "a": data.draw(per_item(found, "a")),
        "b": data.draw(per_item(found, "b")),
        "part": data.draw(scrambled(found, "part")),
        "start": [Item(ROOT, "go")],
    }
    reader = Reader("gathers")
    for parameter, message in data.draw(interleaved(arrows)):
        reader.feed(parameter, message)
    expected = {
        (i,): {
            "a": f"a{i}",
            "b": f"b{i}",
            "part": [f"part{i}{k}" for k in range(size) if found["part"][i][k]],
            "start": "go",
        }
        for i, size in enumerate(found["sizes"])
        if found["a"][i] and found["b"][i] and found["parts"][i]
    }
    assert reader.calls == expected
    assert reader.skipped == {(i,) for i in range(len(found["sizes"]))} - expected.keys()
    assert reader.ends == {ROOT: End(ROOT, len(found["sizes"]))}
    assert reader.empty()


@given(st.data())
def test_outer_values_serve_every_inner_item_and_are_forgotten(data):
    found = data.draw(nested())
    sizes = found["sizes"]
    arrows = {
        "part": data.draw(scrambled(found, "part")),
        "parts": data.draw(scrambled(found, "parts")),
        "a": data.draw(per_item(found, "a")),
        "start": [Item(ROOT, "go")],
    }
    reader = Reader("inner")
    for parameter, message in data.draw(interleaved(arrows)):
        reader.feed(parameter, message)
    expected = {
        (i, k): {"part": f"part{i}{k}", "parts": f"parts{i}{k}", "a": f"a{i}", "start": "go"}
        for i, size in enumerate(sizes)
        for k in range(size)
        if found["part"][i][k] and found["a"][i]
    }
    assert reader.calls == expected
    every = {(i, k) for i, size in enumerate(sizes) for k in range(size)}
    assert reader.skipped == every - expected.keys()
    inner: dict[Path, Message] = {
        (i,): End((i,), size) if found["parts"][i] else Failed((i,)) for i, size in enumerate(sizes)
    }
    assert reader.ends == {ROOT: End(ROOT, len(sizes)), **inner}
    assert reader.empty()


@given(st.data())
def test_a_stream_has_its_values_in_order_and_is_cut_off_where_it_fails(data):
    found = data.draw(nested())
    sizes = found["sizes"]
    arrows = {
        "parts": data.draw(scrambled(found, "parts", ordered=True)),
        "a": data.draw(per_item(found, "a")),
    }
    reader = Reader("reads")
    begun: set[Path] = set()
    for parameter, message in data.draw(interleaved(arrows)):
        reader.feed(parameter, message)
        begun |= reader.calls.keys()
    every = {(i,) for i in range(len(sizes))}
    whole = {(i,) for i in range(len(sizes)) if found["parts"][i]}
    called = {(i,) for i in range(len(sizes)) if found["a"][i]}
    assert reader.calls == {(i,): {"a": f"a{i}"} for (i,) in whole & called}
    assert begun - reader.calls.keys() == reader.cut
    assert reader.cut <= called - whole
    assert reader.skipped | reader.cut == every - reader.calls.keys()
    assert not reader.skipped & reader.cut
    for (i,) in every:
        values = [(k, f"parts{i}{k}") for k in range(sizes[i])]
        assert reader.streams.get((i,), []) == values
    assert reader.finished == every - reader.cut
    assert reader.ends == {ROOT: End(ROOT, len(sizes))}
    assert reader.empty()


@st.composite
def changing(draw, name: str, history: list[list[str | None]]) -> list[Message]:
    """An arrow on which items come, are superseded, and come again (or do not)."""
    items: dict[str, list[Message]] = {}
    for number, values in enumerate(history):
        messages: list[Message] = []
        for turn, value in enumerate(values):
            if turn:
                messages.append(Void((number,)))
            if value == "fail":
                messages.append(Failed((number,)))
            elif value is not None:
                messages.append(Item((number,), f"{name}{value}", turn > 0))
        items[str(number)] = messages
    merged = [message for _, message in draw(interleaved(items))]
    return [*merged, End(ROOT, len(history))]


@st.composite
def histories(draw) -> list[list[str | None]]:
    """What each item was, one after the other. Nothing took the place of those that end in None;
    their numbers are above the others'."""
    kept = draw(st.lists(st.lists(st.sampled_from(["x", "y", "fail"]), min_size=1, max_size=3)))
    gone = draw(st.lists(st.lists(st.sampled_from(["x", "fail"]), min_size=1, max_size=2)))
    return [*kept, *([*values, None] for values in gone)]


@given(st.data())
def test_what_is_superseded_is_called_again_and_what_is_gone_is_not(data):
    history = data.draw(histories())
    arrows: dict[str, list[Message]] = {
        "c": data.draw(changing("c", history)),
        "d": data.draw(changing("d", history)),
        "start": [Item(ROOT, "go")],
    }
    reader = Reader("both")
    assert reader.join.retain
    for parameter, message in data.draw(interleaved(arrows)):
        reader.feed(parameter, message)
    last = {(i,): values[-1] for i, values in enumerate(history)}
    assert reader.calls == {
        path: {"c": f"c{value}", "d": f"d{value}", "start": "go"}
        for path, value in last.items()
        if value not in (None, "fail")
    }
    assert reader.skipped == {path for path, value in last.items() if value == "fail"}
    assert reader.ends == {ROOT: End(ROOT, len(history))}


@given(st.data())
def test_a_stream_is_told_what_no_longer_counts(data):
    history = data.draw(histories())
    arrows: dict[str, list[Message]] = {
        "shaky": data.draw(changing("s", history)),
        "start": [Item(ROOT, "go")],
    }
    reader = Reader("rereads")
    for parameter, message in data.draw(interleaved(arrows)):
        reader.feed(parameter, message)
    assert set(reader.streams.get(ROOT, [])) == {
        (i, f"s{values[-1]}")
        for i, values in enumerate(history)
        if values[-1] not in (None, "fail")
    }
    assert reader.finished == {ROOT}
    assert reader.calls == {ROOT: {"start": "go"}}
    assert reader.performed == 1


def test_an_outer_value_that_changes_calls_every_item_again_but_ends_no_map():
    pipeline = Pipeline("p")

    @pipeline.step(retry=Retry(attempts=2))
    async def shaky(start: str) -> AsyncIterator[str]:
        yield start

    @pipeline.step
    async def first(shaky: Stream[str]) -> str:
        return ""

    @pipeline.step
    async def urls(start: str) -> list[str]:
        return [start]

    @pipeline.step
    async def page(urls: Each[str], first: str) -> str:
        return urls

    built = pipeline.build()
    found = Join(built, built.steps["page"])
    found.feed("urls", Item((0,), "u"))
    assert found.feed("first", Item(ROOT, "one")) == [
        Ready((0,), {"urls": "u", "first": "one"}, False)
    ]
    assert found.feed("urls", End(ROOT, 1)) == [Forward(End(ROOT, 1))]
    assert found.feed("first", Void(ROOT)) == [Cancel((0,))]
    assert found.feed("first", Item(ROOT, "two", True)) == [
        Ready((0,), {"urls": "u", "first": "two"}, True)
    ]


def test_an_endless_map_leaves_nothing_behind():
    reader = Reader("inner")
    reader.feed("start", Item(ROOT, "go"))
    found = reader.join
    for i in range(2000):
        for k in range(3):
            found.feed("part", Item((i, k), "p"))
            found.feed("parts", Item((i, k), "q"))
        found.feed("a", Item((i,), "a"))
        for parameter in ("part", "parts"):
            found.feed(parameter, End((i,), 3))
        kept = (found.entries, found.waiting, found.heard, found.closing, found.broadcast["a"])
        assert [len(each) for each in kept] == [0, 0, 0, 0, 0]
