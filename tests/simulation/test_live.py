"""Random live graphs on the virtual clock: rates, slow readers, failing nodes, lossy arrows,
cancellations. Bounded memory, no deadlock, conservation of messages, order, one end.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from millstream.core import pace
from millstream.core.outcome import Document
from millstream.engine import runner
from millstream.engine.engine import Start
from millstream.engine.live.channel import Channel
from millstream.engine.live.control import LiveRun
from millstream.engine.live.lossy import LossyChannel
from millstream.engine.live.plane import Plane
from millstream.engine.live.statistics import LiveStatistics
from millstream.events import decode
from millstream.store import Cancellation
from millstream.testing.clock import run_virtual
from tests.simulation.house import House
from tests.simulation.live_shapes import LiveBook, LivePlan, build, interpret, live_plan, matched


@contextmanager
def watched_planes() -> Iterator[list[Plane]]:
    """Every plane that is laid; and no channel ever holds more than it may."""
    planes: list[Plane] = []

    class Watched(Plane):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            planes.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Plane", Watched)
        for kind in (Channel, LossyChannel):
            patch.setattr(kind, "put", _checked(kind.put))
        yield planes


def _checked(put: Any) -> Any:
    def checked(self: Channel, numbers: Any, values: Any, passed: int) -> Any:
        assert len(numbers) == len(values) <= pace.LARGEST
        wait = put(self, numbers, values, passed)
        assert len(self) <= max(self.size, self.policy.size), self
        assert self._rest is None or len(self._rest[1]) <= pace.LARGEST
        return wait

    return checked


class Ended:
    """What a simulated run has come to."""

    def __init__(
        self, plan: LivePlan, book: LiveBook, told: LiveStatistics, document: Document, log: list
    ) -> None:
        self.plan, self.book, self.told = plan, book, told
        self.document, self.log = document, log


def simulate(plan: LivePlan, *, cancel_after: float | None = None) -> Ended:
    book = LiveBook()

    async def main() -> tuple[LiveStatistics, Document, list[bytes]]:
        house = House({"live": build(plan, book)}, plan.seed)
        engine = await house.engine("a")
        run, _ = await engine.start(Start("live", b"null"))
        if cancel_after is not None:
            await asyncio.sleep(cancel_after)
            await engine.cancel(run.id, Cancellation("test", "enough"))
        await house.ended(run.id)
        lines = await house.log(run.id)
        document = await engine.document(run.id)
        told = LiveRun(planes[0]).statistics() if planes and planes[0].layout else None
        await house.close()
        assert told is not None or cancel_after is not None
        return told or LiveStatistics(0.0, {}, {}), document, lines

    with watched_planes() as planes:
        return Ended(plan, book, *run_virtual(main()))


# --- laws ----------------------------------------------------------------------------------------


def check_conservation(ended: Ended, *, drained: bool) -> None:
    """On each arrow: sent = delivered + dropped + waiting. At each step: what came is what was
    made, filtered, failed or found no partner."""
    for edge in ended.told.edges.values():
        assert edge.sent == edge.delivered + edge.dropped + edge.waiting, edge
        assert edge.dropped == sum(n for kinds in edge.drops.values() for n in kinds.values())
        if drained:
            assert edge.waiting == 0
            assert edge.closed or edge.fused
    if not drained:
        return
    for node in ended.plan.nodes:
        step = ended.told.steps[node.name]
        came = [edge.delivered for edge in ended.told.edges.values() if edge.target == node.name]
        if len(came) == 1 and node.kind in ("map", "sieve", "switch", "sink"):
            assert came[0] == step.made + step.filtered + step.failed, (node, step)


def check_log(ended: Ended) -> None:
    """Positions without gaps, one end, and what is told of losses is what was counted."""
    events = [decode(line) for line in ended.log]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.terminal for event in events] == [False] * (len(events) - 1) + [True]
    told: dict[str, int] = {}
    failed: dict[str, int] = {}
    for event in events:
        if event.type == "flow.dropped":
            told[event.value["edge"]] = told.get(event.value["edge"], 0) + event.value["count"]
        if event.type == "step.failed" and event.step is not None:
            failed[event.step] = failed.get(event.step, 0) + event.value.get("count", 1)
    assert told == {e.id: e.dropped for e in ended.told.edges.values() if e.dropped}
    assert failed == {s.name: s.failed for s in ended.told.steps.values() if s.failed}


def check_exact(ended: Ended) -> None:
    """Where nothing may be lost, everything comes out as the interpreter says."""
    plan, meant = ended.plan, interpret(ended.plan)
    for node in plan.nodes:
        got = ended.book.got.get(node.name, [])
        inputs = [meant[read] for read in node.reads]
        if node.kind == "sink":
            failed = ended.told.steps[node.name].failed
            rows = [row for _, row in matched(inputs)]
            assert len(got) + failed == len(rows)
            assert is_subsequence(got, rows)
        elif node.kind == "batch":
            assert [value for each in got for value in each] == [value for _, value in inputs[0]]
            assert all(1 <= len(each) <= (node.buffer.batch if node.buffer else 50) for each in got)
        elif node.kind == "merge":
            check_merged(node, got, inputs)
        else:
            given = [value for key in meant if key[0] == node.name for _, value in meant[key]]
            made = sum(value is not None for value in given)
            assert ended.told.steps[node.name].made == made, node


def check_merged(node: Any, got: list, inputs: list) -> None:
    for read, values in zip(node.reads, inputs, strict=True):
        mine = [value for tag, value in got if tag == ":".join(read)]
        assert mine == [value for _, value in values]


def check_order(ended: Ended) -> None:
    """What reaches a sink may have gaps, but stands in the order in which its source gave it."""
    for node in ended.plan.nodes:
        got = ended.book.got.get(node.name, [])
        if node.kind == "sink" and ended.plan.node(node.reads[0][0]).kind == "source":
            numbers = [int(row[0].rpartition(".")[2]) for row in got]
            assert numbers == sorted(set(numbers))


def is_subsequence(part: list, whole: list) -> bool:
    rest = iter(whole)
    return all(any(each == other for other in rest) for each in part)


# --- properties ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(120))
def test_nothing_is_lost_on_arrows_that_block(seed):
    ended = simulate(live_plan(seed, lossy=False))
    assert ended.document.state == "completed"
    check_conservation(ended, drained=True)
    check_log(ended)
    check_exact(ended)


@pytest.mark.parametrize("seed", range(1000, 1120))
def test_lossy_arrows_lose_what_they_count_and_nothing_else(seed):
    ended = simulate(live_plan(seed, lossy=True))
    assert ended.document.state == "completed"
    check_conservation(ended, drained=True)
    check_log(ended)
    check_order(ended)


@pytest.mark.parametrize("seed", range(2000, 2060))
def test_cancelled_at_any_moment(seed):
    rng = random.Random(seed)
    after = rng.choice([0.0, 0.001, 0.05, 0.7, 5.0])
    ended = simulate(live_plan(seed, lossy=rng.random() < 0.5), cancel_after=after)
    assert ended.document.state in ("completed", "cancelled")
    check_conservation(ended, drained=ended.document.state == "completed")
    check_order(ended)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_400))
def test_many_more_of_each(seed):
    test_nothing_is_lost_on_arrows_that_block(seed)
    test_lossy_arrows_lose_what_they_count_and_nothing_else(seed)
    test_cancelled_at_any_moment(seed)


def test_the_same_seed_gives_the_same_bytes():
    logs = [simulate(live_plan(7, lossy=True)).log for _ in range(2)]
    assert logs[0] == logs[1]
