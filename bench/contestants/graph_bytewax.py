"""Bytewax: a dataflow on its Rust engine, one worker, batches of 1,000. It joins by key: the
diamond's branches meet under the message's number. Within a batch, keys come out unordered."""

# pyright: reportMissingImports=false
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from bench.contestants.graphing import BRANCHES, NODES, TICK, Flow, join, main, node

BATCH = 1000


class Messages(StatelessSourcePartition[int]):
    """A batch a call; at a rate, a tick's messages, and then it sleeps for a tick."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.sent = flow, 0
        self.numbers: Iterator[int] = flow.numbers()

    def next_batch(self) -> list[int]:
        if self.sent == self.flow.count:
            raise StopIteration
        paced = self.flow.rate > 0
        batch = self.flow.due(self.sent) if paced else list(islice(self.numbers, BATCH))
        self.sent += len(batch)
        return batch

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(seconds=TICK) if self.flow.rate else None


class Source(DynamicSource[int]):
    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Messages:
        return Messages(self.flow)


class Out(StatelessSinkPartition[int]):
    def __init__(self, flow: Flow) -> None:
        self.sink = flow.sink()

    def write_batch(self, items: list[int]) -> None:
        for x in items:
            self.sink(x)


class Sink(DynamicSink[int]):
    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Out:
        return Out(self.flow)


def drive(flow: Flow) -> None:
    dataflow = Dataflow("graph")
    stream: Any = op.input("in", dataflow, Source(flow))
    if flow.shape == "diamond":
        keyed = [
            op.map(f"branch-{at}", stream, lambda x, f=function: (str(x), f(x)))
            for at, function in enumerate(BRANCHES)
        ]
        joined = op.join("join", *keyed)
        stream = op.map("sum", joined, lambda pair: join(*pair[1]))
    else:
        for at in range(NODES):
            stream = op.map(f"node-{at}", stream, node)
    op.output("out", stream, Sink(flow))
    run_main(dataflow)
    if flow.shape == "diamond":
        flow.out.sort()  # by key, a batch comes out in no order of its own


if __name__ == "__main__":
    main(drive)
