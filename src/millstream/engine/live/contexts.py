"""Contexts of live steps that are not called one message at a time: one for the whole run."""

import asyncio
from collections.abc import Callable
from typing import Any

from millstream.context import Context
from millstream.core.graph import Step
from millstream.engine.live.calls import Home
from millstream.engine.live.failures import Reporter
from millstream.engine.live.statistics import Counts
from millstream.engine.work import Work
from millstream.errors import StepError


class Contexts:
    """Makes them. What a step in a thread sends comes home to the loop first."""

    def __init__(self, work: Work, reporter: Reporter) -> None:
        self._work, self._reporter = work, reporter

    def of(self, step: Step) -> Context:
        """A Context for all that this step does; it has no item."""
        home = Home(self._work, step, None)
        send = self._from_thread(step, home) if step.executor == "thread" else home.send
        return Context(
            self._work.facts(step, None, 1),
            send=send,
            stopped=lambda: self._work.stopping,
            now=self._work.now,
        )

    def _from_thread(self, step: Step, home: Home) -> Callable[[str, Any], None]:
        loop = asyncio.get_running_loop()
        counts = Counts(step.name, "", self._work.now())

        def receive(type: str, data: Any) -> None:
            try:
                home.send(type, data)
            except StepError as error:
                self._reporter.failed(counts, None, error)

        def send(type: str, data: Any) -> None:
            loop.call_soon_threadsafe(receive, type, data)

        return send
