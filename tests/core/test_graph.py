"""Steps, arrows, scopes: the shape alone."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.graph import Arrow, Graph, Reading, Step, joined, order, scope_of
from millstream.errors import PipelineError
from millstream.policy import Retry

VALUE, EACH, ALL, STREAM, BATCH = Reading


def step(name, *reads, **more):
    """A step that reads `reads`, each a source's name or a pair of one and a reading."""
    pairs = [(read, VALUE) if isinstance(read, str) else read for read in reads]
    arrows = tuple(Arrow(source, name, source, reading) for source, reading in pairs)
    return Step(name, print, arrows, **more)


@st.composite
def steps(draw):
    """Steps without a cycle, declared in any order."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    made = []
    for number, name in enumerate(names):
        reads = draw(st.sets(st.sampled_from(["input", *names[:number]])))
        made.append(step(name, *sorted(reads)))
    return draw(st.permutations(made))


@given(steps())
def test_every_step_stands_after_those_it_reads(declared):
    ordered = [each.name for each in order("mill", {each.name: each for each in declared})]
    assert sorted(ordered) == sorted(each.name for each in declared)
    for each in declared:
        for arrow in each.arrows:
            if arrow.source != "input":
                assert ordered.index(arrow.source) < ordered.index(each.name)


@given(steps(), st.data())
def test_a_cycle_is_named_along_its_arrows(declared, data):
    by_name = {each.name: each for each in declared}
    ring = data.draw(st.lists(st.sampled_from(sorted(by_name)), min_size=1, unique=True))
    for name, upstream in zip(ring, [*ring[1:], ring[0]], strict=True):
        by_name[name] = step(name, *(a.source for a in by_name[name].arrows), upstream)
    with pytest.raises(PipelineError) as caught:
        order("mill", by_name)
    said = caught.value.message.partition("the steps ")[2].partition(" wait")[0].split(" -> ")
    assert said[0] == said[-1]
    assert len(said) > 1
    for source, target in pairwise(said):
        assert source in {arrow.source for arrow in by_name[target].arrows}


@given(steps())
def test_descendants_are_what_can_be_reached(declared):
    ordered = order("mill", {each.name: each for each in declared})
    by_name = {each.name: each for each in ordered}
    graph = Graph("mill", by_name, dict.fromkeys([*by_name, "input"], ()), input="input")
    for name in [*by_name, "input"]:
        reached, front = set(), {name}
        while front:
            front = {a.target for each in front for a in graph.readers[each]} - reached
            reached |= front
        assert graph.descendants[name] == reached
    assert set(graph.outputs) == {n for n in by_name if not graph.descendants[n]}


@pytest.mark.parametrize(
    ("reading", "source", "yields", "scope"),
    [
        (VALUE, (), False, ()),
        (VALUE, ("urls",), False, ("urls",)),
        (EACH, (), False, ("page",)),
        (EACH, ("urls",), True, ("urls", "page")),
        (ALL, ("urls",), False, ()),
        (ALL, ("urls", "links"), False, ("urls",)),
        (STREAM, ("urls",), False, ()),
        (STREAM, ("urls",), True, ("urls",)),
        (STREAM, (), True, ()),
    ],
)
def test_where_an_arrow_delivers(reading, source, yields, scope):
    arrow = Arrow("page", "x", "page", reading)
    assert scope_of(arrow, source, source_yields=yields) == scope


scopes = st.lists(st.sampled_from("abc"), max_size=3).map(tuple)


@given(st.dictionaries(st.sampled_from("pqrs"), scopes))
def test_parameters_must_lie_on_one_chain_of_scopes(delivered):
    chain = all(
        one[: len(other)] == other or other[: len(one)] == one
        for one in delivered.values()
        for other in delivered.values()
    )
    if chain:
        deepest = max(delivered.values(), key=len, default=())
        assert joined("mill", step("x"), delivered) == deepest
    else:
        with pytest.raises(PipelineError, match=r"once per item of .*annotate it list\[\.\.\.\]"):
            joined("mill", step("x"), delivered)


def test_what_may_come_again():
    again = Retry(attempts=2)
    made = [
        step("once", "input", yields=True),
        step("again", "input", yields=True, retry=again),
        step("saved", "input", yields=True, fallback=print),
        step("plain", "input", retry=again),
        step("a", ("again", EACH)),
        step("b", ("saved", STREAM)),
        step("c", "again"),
        step("d", ("once", EACH), yields=True),
        step("e", ("a", ALL), yields=True),
        step("f", "plain"),
    ]
    by_name = {each.name: each for each in made}
    graph = Graph("mill", by_name, dict.fromkeys([*by_name, "input"], ()), input="input")
    assert graph.unsettled == {"a", "b", "e"}
    assert {name for name in by_name if graph.repeats(name)} == {"again", "saved", "e"}
    assert not graph.repeats("input")


def test_an_internal_step_is_no_output():
    made = [step("a", "input"), step("b", "input", internal=True)]
    by_name = {each.name: each for each in made}
    assert Graph("mill", by_name, {"a": (), "b": (), "input": ()}, "input").outputs == ("a",)
