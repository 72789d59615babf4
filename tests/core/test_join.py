"""Joins: whatever the order between arrows, the same calls, each once, and ends after them."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import Each, Pipeline, Retry, Stream
from millstream.core.graph import Graph
from millstream.core.join import Cancel, Drop, Feed, Finish, Forward, Join, Ready, Skip
from millstream.core.messages import End, Failed, Item, Message, Void

FAILED = object()


def crawl() -> Graph:
    """Steps of every reading, two maps deep."""
    flow = Pipeline("crawl")

    @flow.step
    def page(urls: Each[str]) -> str: ...

    @flow.step
    def other(urls: Each[str]) -> str: ...

    @flow.step
    def head(urls: list[str]) -> str: ...

    @flow.step
    def links(page: str) -> list[str]: ...

    @flow.step
    def two(page: str, other: str, head: str) -> str: ...

    @flow.step
    def target(links: Each[str], page: str, head: str) -> str: ...

    @flow.step
    def targets(target: list[str], other: str) -> str: ...

    @flow.step
    def book(targets: list[str], other: list[str], head: str) -> str: ...

    @flow.step
    async def read(page: Stream[str], head: str) -> str: ...

    return flow.build()


GRAPH = crawl()


class World:
    """How many items there are, and which of the sources' values fail."""

    def __init__(self, urls: int, links: list[int], failing: set[tuple[str, tuple[int, ...]]]):
        self.urls, self.links, self.failing = urls, links[:urls], failing

    def value(self, source, path):
        return FAILED if (source, path) in self.failing else f"{source}{list(path)}"

    def message(self, source, path):
        value = self.value(source, path)
        return Failed(path) if value is FAILED else Item(path, value)

    def paths(self, depth) -> list[tuple[int, ...]]:
        if depth == 0:
            return [()]
        if depth == 1:
            return [(url,) for url in range(self.urls)]
        return [(url, n) for url in range(self.urls) for n in range(self.links[url])]

    def arrow(self, source, *, elements=False):
        """All that an arrow from that source brings. `elements`: of `links`, one by one."""
        depth = len(GRAPH.scopes[source]) + elements
        told = []
        for path in self.paths(depth):
            if not elements or self.value(source, path[:-1]) is not FAILED:
                told.append(self.message("element" if elements else source, path))
        for level in range(depth):
            for path in self.paths(level):
                if elements and level == depth - 1 and self.value(source, path) is FAILED:
                    told.append(Failed(path))
                else:
                    count = self.urls if level == 0 else self.links[path[0]]
                    told.append(End(path, count))
        return told


worlds = st.builds(
    World,
    st.integers(0, 3),
    st.lists(st.integers(0, 2), min_size=3, max_size=3),
    st.sets(
        st.tuples(
            st.sampled_from(["page", "other", "links", "target", "targets", "element", "head"]),
            st.lists(st.integers(0, 2), max_size=2).map(tuple),
        ),
        max_size=6,
    ),
)


def interleaved(arrows: dict[str, list], rng: random.Random) -> Iterator[tuple[str, Message]]:
    """The arrows' messages: any order between arrows; in one, an End (or an outer item's failure)
    after everything below it."""
    left = {parameter: list(messages) for parameter, messages in arrows.items()}
    while any(left.values()):
        parameter = rng.choice([each for each, messages in left.items() if messages])
        free = [m for m in left[parameter] if not _waits(m, left[parameter])]
        message = rng.choice(free)
        left[parameter].remove(message)
        yield parameter, message


def _waits(message, others) -> bool:
    at = len(message.path)
    return any(
        other is not message
        and other.path[:at] == message.path
        and (len(other.path) > at or (isinstance(message, End) and not isinstance(other, End)))
        for other in others
    )


def decided(step, arrows, rng):
    join = Join(GRAPH, GRAPH.steps[step])
    return [d for told in interleaved(arrows, rng) for d in join.feed(*told)]


def expected(world, step, inputs):
    """For each path of the step's scope: the arguments, or None where one of them has failed."""
    calls = {}
    for path in world.paths(len(GRAPH.scopes[step])):
        values = {name: value(path) for name, value in inputs.items()}
        if any(value is MISSING for value in values.values()):
            continue
        failed = any(value is FAILED for value in values.values())
        calls[path] = None if failed else values
    return calls


MISSING = object()


def check(decisions, calls, ends=()):
    """Each call or skip just once; each end once, after all that lies below it."""
    told = [d for d in decisions if isinstance(d, Ready | Skip)]
    assert {d.path: d.arguments if isinstance(d, Ready) else None for d in told} == calls
    assert len(told) == len(calls)
    forwarded = [(at, d.message) for at, d in enumerate(decisions) if isinstance(d, Forward)]
    assert sorted(repr(message) for _, message in forwarded) == sorted(map(repr, ends))
    for at, message in forwarded:
        later = [d.path for d in decisions[at:] if isinstance(d, Ready | Skip)]
        assert not [path for path in later if path[: len(message.path)] == message.path]


chance = st.randoms(use_true_random=False)


@given(worlds, chance)
def test_values_of_the_same_item_and_an_outer_one(world, rng):
    arrows = {name: world.arrow(name) for name in ("page", "other", "head")}
    inputs = {
        "page": lambda path: world.value("page", path),
        "other": lambda path: world.value("other", path),
        "head": lambda path: world.value("head", ()),
    }
    calls = expected(world, "two", inputs)
    check(decided("two", arrows, rng), calls, [End((), world.urls)])


@given(worlds, chance)
def test_elements_of_an_inner_map_with_values_of_outer_items(world, rng):
    arrows = {
        "links": world.arrow("links", elements=True),
        "page": world.arrow("page"),
        "head": world.arrow("head"),
    }

    def element(path):
        if world.value("links", path[:-1]) is FAILED:
            return MISSING
        return world.value("element", path)

    inputs = {
        "links": element,
        "page": lambda path: world.value("page", path[:1]),
        "head": lambda path: world.value("head", ()),
    }
    ends = [m for m in world.arrow("links", elements=True) if len(m.path) < 2]
    check(decided("target", arrows, rng), expected(world, "target", inputs), ends)


def collected(world, source, path, depth):
    below = [p for p in world.paths(depth) if p[: len(path)] == path]
    return [v for v in (world.value(source, p) for p in below) if v is not FAILED]


@given(worlds, chance)
def test_all_values_of_a_map_in_order(world, rng):
    arrows = {"target": world.arrow("target"), "other": world.arrow("other")}
    inputs = {
        "target": lambda path: collected(world, "target", path, 2),
        "other": lambda path: world.value("other", path),
    }
    calls = expected(world, "targets", inputs)
    check(decided("targets", arrows, rng), calls, [End((), world.urls)])


@given(worlds, chance)
def test_two_collections_are_one_call(world, rng):
    arrows = {name: world.arrow(name) for name in ("targets", "other", "head")}
    inputs = {
        "targets": lambda path: collected(world, "targets", (), 1),
        "other": lambda path: collected(world, "other", (), 1),
        "head": lambda path: world.value("head", ()),
    }
    check(decided("book", arrows, rng), expected(world, "book", inputs))


@given(worlds, chance)
def test_a_stream_is_fed_all_values_once_and_finished(world, rng):
    arrows = {"page": world.arrow("page"), "head": world.arrow("head")}
    decisions = decided("read", arrows, rng)
    calls = expected(world, "read", {"head": lambda path: world.value("head", ())})
    check(decisions, calls)
    fed = {d.number: d.value for d in decisions if isinstance(d, Feed)}
    values = {path[0]: world.value("page", path) for path in world.paths(1)}
    assert fed == {number: value for number, value in values.items() if value is not FAILED}
    told = [type(d) for d in decisions if isinstance(d, Feed | Finish)]
    assert told == [Feed] * len(fed) + [Finish]


# --- what comes again ----------------------------------------------------------------------------


def again() -> Graph:
    flow = Pipeline("again")

    @flow.step(retry=Retry(attempts=3))
    def words(text: str) -> Iterator[str]:
        yield text

    @flow.step
    def left(words: Each[str]) -> str: ...

    @flow.step
    def right(words: Each[str]) -> str: ...

    @flow.step
    def both(left: str, right: str) -> str: ...

    @flow.step
    def whole(left: list[str], right: list[str]) -> str: ...

    @flow.step
    async def read(words: Stream[str]) -> str: ...

    return flow.build()


AGAIN = again()

versions = st.lists(st.integers(1, 3), max_size=3)
"""For each item, how often its value comes."""


def revised(name: str, counts: list[int]) -> list[list]:
    """For each item the messages of its versions: a value, then Void and another value …"""
    return [
        [
            m
            for v in range(count)
            for m in ([Void((n,))] if v else []) + [Item((n,), f"{name}{n}{v}")]
        ]
        for n, count in enumerate(counts)
    ]


def woven(counts: dict[str, list[int]], rng: random.Random) -> Iterator[tuple[str, Message]]:
    """Arrows with revised items in any order; each arrow's End when all its items have come once.

    A revision may come after the End.
    """
    queues = {(name, n): q for name, c in counts.items() for n, q in enumerate(revised(name, c))}
    ends = {name: End((), len(c)) for name, c in counts.items()}
    seen: set[tuple[str, int]] = set()
    while queues or ends:
        ready = [n for n in ends if all((n, i) in seen for i in range(len(counts[n])))]
        choice = rng.choice([*sorted(queues), *((name, -1) for name in ready)])
        if choice[1] < 0:
            yield choice[0], ends.pop(choice[0])
            continue
        seen.add(choice)
        yield choice[0], queues[choice].pop(0)
        if not queues[choice]:
            del queues[choice]


def newest(name: str, counts: list[int]) -> list[str]:
    return [f"{name}{n}{count - 1}" for n, count in enumerate(counts)]


def alternate(decisions, path):
    """A call, and before each further one a Cancel; the last call's arguments."""
    mine = [d for d in decisions if isinstance(d, Ready | Cancel | Skip) and d.path == path]
    kinds = [type(d) for d in mine]
    assert kinds == [Ready if at % 2 == 0 else Cancel for at in range(len(mine))]
    last = mine[-1]
    assert isinstance(last, Ready)
    return last.arguments


@given(versions, st.data(), chance)
def test_superseded_values_lead_to_a_call_with_the_newest(left, data, rng):
    right = [data.draw(st.integers(1, 3)) for _ in left]
    join = Join(AGAIN, AGAIN.steps["both"])
    assert join.retain
    # no revision after both ends: the map is over then
    told = [t for t in woven({"left": left, "right": right}, rng) if not isinstance(t[1], End)]
    told += [("left", End((), len(left))), ("right", End((), len(left)))]
    decisions = [d for each in told for d in join.feed(*each)]
    for n, (a, b) in enumerate(zip(newest("left", left), newest("right", right), strict=True)):
        assert alternate(decisions, (n,)) == {"left": a, "right": b}
    assert decisions[-1] == Forward(End((), len(left)))


@given(versions, st.data(), chance)
def test_a_collection_is_made_again_with_the_newest(left, data, rng):
    right = [data.draw(st.integers(1, 3)) for _ in left]
    join = Join(AGAIN, AGAIN.steps["whole"])
    told = list(woven({"left": left, "right": right}, rng))
    decisions = [d for each in told for d in join.feed(*each)]
    final = alternate(decisions, ())
    assert final == {"left": newest("left", left), "right": newest("right", right)}


@given(versions, chance)
def test_a_stream_is_told_what_was_superseded(counts, rng):
    join = Join(AGAIN, AGAIN.steps["read"])
    told = [t for t in woven({"words": counts}, rng) if not isinstance(t[1], End)]
    decisions = [d for each in told for d in join.feed(*each)]
    held: dict[int, object] = {}
    for decision in decisions:
        if isinstance(decision, Feed):
            assert decision.number not in held
            held[decision.number] = decision.value
        elif isinstance(decision, Drop):
            assert decision.number is not None
            del held[decision.number]
    assert held == dict(enumerate(newest("words", counts)))


def test_a_whole_map_that_begins_anew():
    join = Join(AGAIN, AGAIN.steps["whole"])
    first = [("left", Item((0,), "a")), ("left", End((), 1))]
    first += [("right", Item((0,), "b")), ("right", End((), 1))]
    told = [d for each in first for d in join.feed(*each)]
    assert told == [Ready((), {"left": ["a"], "right": ["b"]})]
    assert join.feed("left", Void(())) == [Cancel(())]
    assert join.feed("left", End((), 0)) == [Ready((), {"left": [], "right": ["b"]})]


def test_a_result_made_of_a_fresh_value_is_fresh():
    join = Join(GRAPH, GRAPH.steps["two"])
    join.feed("page", Item((0,), "a"))
    join.feed("head", Item((), "h", fresh=True))
    (ready,) = join.feed("other", Item((0,), "b"))
    assert isinstance(ready, Ready)
    assert ready.fresh


def test_an_outer_value_is_no_message_for_an_inner_arrow():
    with pytest.raises(AssertionError, match="'page' got a value of an outer item"):
        Join(GRAPH, GRAPH.steps["two"]).feed("page", Item((), "a"))


def test_the_join_keeps_nothing_when_its_map_is_over():
    join = Join(GRAPH, GRAPH.steps["two"])
    world = World(3, [0, 0, 0], set())
    for name in ("page", "other", "head"):
        for message in world.arrow(name):
            join.feed(name, message)
    assert repr(join) == "<Join of 3 inputs, 0 items waiting>"
    assert (join.heard, join.closing, join.collections) == ({}, {}, {})
    assert not any(join.broadcast.values())
