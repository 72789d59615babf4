"""Failures of live steps: counted always, told whole while they are few, then as counts.

Errors at ten thousand a second must not flood the log: the first of a second are events of their
own, the rest become one event a second and step. Dropped messages are told the same way.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from millstream.annotations import Out
from millstream.core.graph import Step
from millstream.core.quota import PERIOD, Quota
from millstream.engine.journal import Journal
from millstream.engine.live.channel import Channel
from millstream.engine.live.statistics import Counts
from millstream.engine.performance import as_step_error
from millstream.errors import StepError
from millstream.events import FLOW_DROPPED, STEP_FAILED


class Listener(Protocol):
    """Whoever is told of failures."""

    def failed(self, counts: Counts, number: int | None, error: StepError) -> None:
        """A step has failed for good at one message (None: not at one in particular)."""


class Reporter:
    """Writes what went wrong into the log. Has a timer only while there is something to tell."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        self._journal, self._now = journal, now
        self._quotas: dict[str, Quota] = {}
        self.last: dict[str, StepError] = {}
        """The newest failure of each step."""
        self._channels: list[Channel] = []
        self._timer: asyncio.TimerHandle | None = None
        self._reported = float("-inf")

    def watch(self, channel: Channel) -> None:
        """Tell of what this arrow drops."""
        self._channels.append(channel)

    def forget(self, channels: Iterable[Channel]) -> None:
        """These arrows are there no more; their last drops are told at once."""
        for channel in channels:
            self._tell_drops(channel)
            self._channels.remove(channel)

    def failed(self, counts: Counts, number: int | None, error: StepError) -> None:
        """A step has failed for good at one message."""
        counts.failed += 1
        self.last[counts.name] = error
        quota = self._quotas.setdefault(counts.name, Quota())
        if quota.admits(self._now(), error.code):
            self._tell(counts.name, error, item=number)
        else:
            self.soon()

    def soon(self) -> None:
        """There is something to tell: now, if nothing was told for a second."""
        if self._timer is None:
            wait = max(0.0, self._reported + PERIOD - self._now())
            self._timer = asyncio.get_running_loop().call_later(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        self.report()

    def report(self) -> None:
        """Tell all that was only counted so far."""
        self._reported = self._now()
        if self._journal.error is not None or self._journal.ended:
            return
        for channel in self._channels:
            self._tell_drops(channel)
        for step, quota in self._quotas.items():
            for code, count in quota.counted().items():
                error = self.last[step]
                told = error if error.code == code else StepError("", code=code)
                self._tell(step, told, count=count)

    def _tell_drops(self, channel: Channel) -> None:
        arrow = channel.arrow
        for (cause, kind), count in channel.gauge.untold().items():
            data = {"edge": arrow.id, "count": count, "cause": cause, "class": kind}
            self._journal.append(FLOW_DROPPED, step=arrow.target, data=data)

    def _tell(
        self, step: str, error: StepError, *, item: int | None = None, count: int | None = None
    ) -> None:
        data: dict[str, Any] = {
            "code": error.code,
            "message": error.message,
            "retryable": error.retryable,
            "will_retry": False,
            "fallback": False,
        }
        if count is not None:
            data["count"] = count
        if self._journal.error is None:
            self._journal.append(STEP_FAILED, step=step, item=item, data=data)

    def close(self) -> None:
        """Tell the rest; no timer is left."""
        if self._timer is not None:
            self._timer.cancel()
        self.report()


def not_encodable(error: TypeError) -> StepError:
    """A value that is to be published has no JSON form."""
    return StepError(
        f"its value has no JSON form ({error}); return JSON types, a model or a dataclass, "
        'or declare publish="never"',
        code="not_encodable",
        retryable=False,
    )


def check_out(step: Step, value: Any) -> None:
    """Raise StepError where a step with ports gives anything but an Out of one of them."""
    if type(value) is not Out:
        raise StepError(
            f"step {step.name!r} has the ports {', '.join(step.ports)}, but gave a "
            f"{type(value).__name__}; give Out({step.ports[0]!r}, value)",
            code="no_port",
            retryable=False,
        )
    if value.port not in step.ports:
        raise StepError(
            f"step {step.name!r} gave Out({value.port!r}, ...), but its ports are "
            f"{', '.join(step.ports)}",
            code="no_port",
            retryable=False,
        )


def plain(error: BaseException) -> StepError:
    """Any exception of a step's function. What ends the process goes on its way."""
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        raise error
    if isinstance(error, Exception):
        return as_step_error(error)
    return StepError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
