"""RxPY (reactivex): operators on a subject, called in the thread of whoever pushes."""

# pyright: reportMissingImports=false
import reactivex
from reactivex import Observable, Subject
from reactivex import operators as ops

from bench.contestants.graphing import BRANCHES, NODES, Flow, join, main, node


async def drive(flow: Flow) -> None:
    subject: Subject[int] = Subject()
    out: Observable[int]
    if flow.shape == "diamond":
        branches = [subject.pipe(ops.map(function)) for function in BRANCHES]
        out = reactivex.zip(*branches).pipe(ops.map(lambda each: join(*each)))
    else:
        out = subject.pipe(*[ops.map(node) for _ in range(NODES)])
    out.subscribe(flow.sink())
    push = subject.on_next
    if flow.rate:
        async for x in flow.paced():
            push(x)
    else:
        for x in flow.numbers():
            push(x)
    subject.on_completed()


if __name__ == "__main__":
    main(drive)
