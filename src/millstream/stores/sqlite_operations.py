"""What waits for the SQLite store's next transaction: operations, and who is told of them.

Belongs to `stores/sqlite.py`, which settles them in its loop. `sqlite_writer.py` carries them out
in its thread. An append is an object of its own, because there are many of them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from millstream.events import Segment
from millstream.store import Mark, Promise

_T = TypeVar("_T")


class Append(Promise, eq=False):
    """See the port."""

    run: str
    epoch: int
    segment: Segment
    mark: Mark | None


class Operation(Generic[_T]):
    """Any other: what is to be done in the writer's thread, and a future of what it returns."""

    __slots__ = ("call", "future")

    def __init__(self, call: Callable[[], _T]) -> None:
        self.call = call
        self.future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: Any) -> None:
        """With what it returned, or raised."""
        if self.future.done():  # its caller was cancelled; the operation was not
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


Write = Append | Operation[Any]
