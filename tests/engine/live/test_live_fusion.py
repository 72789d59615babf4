"""Fusion: which steps run as one call, the function that is generated for them, and what it says of
a step that fails.
"""

import linecache
import traceback
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.annotations import NOTHING, Each, From, In, Nothing, Out, Stream
from millstream.engine.live import fusion
from millstream.engine.live.code import compile_program
from millstream.engine.live.outlets import Outlet
from millstream.engine.live.segment import Segment
from millstream.engine.live.statistics import Counts
from millstream.pipeline import Pipeline
from millstream.policy import Buffer, Retry


class Collected(Outlet):
    """An outlet that is always wanted."""

    def __init__(self) -> None:
        self.channels, self.taps = [], []

    @property
    def wanted(self) -> bool:
        return True


def source():
    yield 1


def inline(p: Pipeline, name: str, *reads: str, **policies: Any) -> None:
    """A step that reads these."""
    if len(reads) == 1:
        p.add(name, lambda a: a, arrows={"a": From(reads[0])}, executor="inline", **policies)
    else:
        arrows = {"a": From(reads[0]), "b": From(reads[1])}
        p.add(name, lambda a, b: a, arrows=arrows, executor="inline", **policies)


def groups(p: Pipeline, *apart: str) -> list[str]:
    return ["".join(group) for group in fusion.groups(p.build(), apart)]


def test_neighbours_on_one_origin_run_as_one_call():
    p = Pipeline("p", live=True)
    p.add("s", source, executor="inline")
    for name, *reads in ("as", "ba", "ca", "dbc", "ed"):
        inline(p, name, *reads)
    assert groups(p) == ["sabcde"]
    assert groups(p, "d") == ["sabc", "d", "e"]
    assert groups(p, "s") == ["s", "abcde"]


def test_what_keeps_steps_apart():
    p = Pipeline("p", live=True)
    p.add("s", source, executor="inline")
    inline(p, "a", "s")
    inline(p, "b", "a", retry=Retry())
    inline(p, "c", "a", buffer=Buffer(on_full="latest"))
    inline(p, "d", "a", timeout=1)
    inline(p, "e", "a", concurrency=2)
    inline(p, "f", "a", buffer=Buffer(adaptive=True))
    p.add("g", lambda x: x, arrows={"x": From("a")})
    p.add("h", lambda x: x, arrows={"x": [From("a"), From("s")]}, executor="inline")

    async def w(a: Stream[int]):
        async for x in a:
            yield x

    p.add("w", w)
    inline(p, "i", "w")
    inline(p, "j", "i")

    def tagged(a: Each[In[Any]]) -> Any:
        return a

    p.add("k", tagged, executor="inline")
    inline(p, "l", "h", "h")
    assert sorted(groups(p)) == ["c", "f", "hl", "ij", "k", "sa"]


def test_a_traceback_names_the_line_and_the_line_names_the_step():
    p = Pipeline("p", live=True)
    p.add("s", source, executor="inline")

    def price(a: Each[int]) -> float:
        return 1 / a

    p.add("price of it", price, arrows={"a": From("s")}, executor="inline")
    inline(p, "b", "price of it")
    program, ports = fusion.program(p.build(), ["s", "price of it", "b"], lambda step: {}, {})
    compiled = compile_program(program, [ports["b", "out"]], "test")
    out: list[Any] = []
    with pytest.raises(ZeroDivisionError) as raised:
        compiled.run(iter([1, 2, 0]), out.append)
    assert out == [1.0, 0.5]
    segment, _ = raised.traceback[1:]
    assert compiled.lines[segment.lineno + 1] == 0
    shown = "".join(traceback.format_exception(raised.value))
    assert "price_of_it_ = f0_price_of_it(s_)" in shown
    file = segment.frame.code.raw.co_filename
    assert linecache.getline(file, segment.lineno + 1).strip().startswith("price_of_it_ =")


# --- against a naive interpreter ------------------------------------------------------------------


class Acting:
    """What a step does with its values: a function of its name and them."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind

    def act(self, *values: Any) -> Any:
        drawn = crc32(repr((self.name, values)).encode()) % 10
        if self.kind != "sure" and drawn == 0:
            raise ValueError(self.name)
        value = (self.name, *values)
        if self.kind == "sieve" and drawn < 4:
            return NOTHING
        return Out("ab"[drawn % 2], value) if self.kind == "ports" else value


def step(p: Pipeline, name: str, kind: str, reads: list[tuple[str, str]], optional: bool) -> None:
    acting = Acting(name, kind)
    returns = {"sieve": Any | Nothing, "ports": Out[Any]}.get(kind, Any)
    if len(reads) == 1:

        def one(a: Any) -> Any:
            return acting.act(a)

        function: Any = one
    else:

        def two(a: Any, b: Any) -> Any:
            return acting.act(a, b)

        function = two
    function.__annotations__["return"] = returns
    p.add(
        name,
        function,
        arrows={q: From(*read) for q, read in zip("ab", reads, strict=False)},
        ports=("a", "b") if kind == "ports" else (),
        optional=optional,
        executor="inline",
    )


@st.composite
def lines(draw):
    """Steps that read one another: (name, kind, reads, optional)."""
    ports = [("s", "out")]
    found = []
    for number in range(draw(st.integers(1, 7))):
        name = f"n{number}"
        kind = draw(st.sampled_from(["sure", "fails", "fails", "sieve", "ports"]))
        reads = draw(st.lists(st.sampled_from(ports), min_size=1, max_size=2))
        optional = kind == "fails" and draw(st.booleans())
        found.append((name, kind, reads, optional))
        ports += [(name, port) for port in (("a", "b") if kind == "ports" else ("out",))]
    return found


def meant(declared: list[Any], count: int) -> tuple[dict[Any, Any], dict[str, list[int]]]:
    """What leaves each port, with numbers; and made, filtered, failed of each step."""
    given: dict[Any, dict[int, Any]] = {("s", "out"): {n: n * 7 for n in range(1, count + 1)}}
    tally: dict[str, list[int]] = {}
    for name, kind, reads, optional in declared:
        acting, told = Acting(name, kind), [0, 0, 0]
        for port in ("a", "b") if kind == "ports" else ("out",):
            given[name, port] = {}
        for number in given[reads[0]].keys() & given[reads[-1]].keys():
            try:
                value = acting.act(*(given[tuple(read)][number] for read in reads))
            except ValueError:
                told[2] += 1
                if optional:
                    given[name, "out"][number] = None
                continue
            told[1 if value is NOTHING else 0] += 1
            if value is not NOTHING:
                port, value = (value.port, value.value) if kind == "ports" else ("out", value)
                given[name, port][number] = value
        tally[name] = told
    return given, tally


@settings(deadline=None, max_examples=150)
@given(declared=lines(), counts=st.lists(st.integers(1, 140), min_size=1, max_size=3))
def test_a_segment_does_what_its_steps_do_one_by_one(declared, counts):
    p = Pipeline("p", live=True)
    p.add("s", source, executor="inline")
    for each in declared:
        step(p, *each)
    graph = p.build()
    names = ["s", *(name for name, *_ in declared)]
    (group,) = fusion.groups(graph)
    assert sorted(group) == sorted(names)
    program, ports = fusion.program(graph, group, lambda step: {}, {})
    told = {name: Counts(name, "function", 0.0) for name in names}
    outlets = {variable: Collected() for variable in ports.values()}
    failures: list[tuple[str, int]] = []

    def fail(counts: Counts, number: int | None, error: Exception) -> None:
        counts.failed += 1
        failures.append((counts.name, number or 0))

    segment = Segment(program, outlets, told, ports=ports, fail=fail, now=lambda: 0.0, label="test")
    got: dict[Any, dict[int, Any]] = {port: {} for port in ports}
    by_outlet = {id(outlets[variable]): port for port, variable in ports.items()}
    number = 0
    for count in counts:
        numbers = range(number + 1, number + count + 1)
        number += count
        for outlet, given_numbers, given_values in segment.process(
            numbers, [n * 7 for n in numbers]
        ):
            assert list(given_numbers) == sorted(given_numbers)
            got[by_outlet[id(outlet)]] |= dict(zip(given_numbers, given_values, strict=True))
    expected, tally = meant(declared, number)
    assert got == expected
    for name, (made, filtered, failed) in tally.items():
        counts_ = told[name]
        assert (counts_.made, counts_.filtered, counts_.failed) == (made, filtered, failed), name
    for (name, port), values in expected.items():
        assert segment.inside(name, port) == len(values)
    assert len(failures) == sum(failed for *_, failed in tally.values())
