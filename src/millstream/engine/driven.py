"""Driven: the tasks of a run's steps, at whose every pause the run's journal is flushed.

A step that publishes and then waits has its events handed to the store before anything else has
its turn; where the store keeps them at once they are on their way to whoever follows. What a step
publishes without waiting is one flush.
"""

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from millstream.engine.journal import Journal

T = TypeVar("T")


class Driven(Coroutine[Any, Any, T]):
    """A coroutine with its run's journal. `within` says that another one waits for it, which goes
    on where this one ends: that end is then no pause."""

    __slots__ = ("_close", "_journal", "_send", "_throw", "_within")

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], journal: Journal, *, within: bool = False
    ) -> None:
        self._send, self._throw, self._close = coroutine.send, coroutine.throw, coroutine.close
        self._journal, self._within = journal, within

    def send(self, value: Any) -> Any:
        """As a coroutine's."""
        journal = self._journal
        journal.held, journal.ahead = True, False
        try:
            waits_for = self._send(value)
        except BaseException:
            journal.let_go(at_once=not self._within)
            raise
        if journal.pending:
            journal.let_go(at_once=True)
        else:
            journal.held = journal.lingers = False
        return waits_for

    def throw(self, kind: Any, value: object = None, traceback: object = None) -> Any:
        """As a coroutine's; of a task, with an exception alone."""
        self._journal.held = True
        try:
            return self._throw(kind)
        finally:
            self._journal.let_go(at_once=True)

    def close(self) -> None:
        """As a coroutine's."""
        self._close()

    def __await__(self) -> Generator[Any, Any, T]:
        raise RuntimeError("it is for a task")
