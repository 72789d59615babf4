"""Work on many items in several processes, each with an equal part of them."""

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import cv2

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_parts(work: Callable[[Item], Found], items: Sequence[Item], processes: int) -> list[Found]:
    """What `work` finds for each item, in their order. It may be a closure: processes fork."""
    if processes < 2:
        return [work(item) for item in items]
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in range(processes)]
    workers = [
        fork.Process(target=_some, args=(work, items[at::processes], pipes[at][1]))
        for at in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [reader.recv() for reader, _ in pipes]
    for worker in workers:
        worker.join()
    return [found[at % processes][at // processes] for at in range(len(items))]


def _some(work: Callable[[Any], Any], items: Sequence[Any], out: Connection) -> None:
    cv2.setNumThreads(1)
    out.send([work(item) for item in items])
