"""Restarts: what follows when a source or a transformer fails. The policy's retries, or the end."""

import asyncio

from millstream.core import retry
from millstream.core.graph import Step
from millstream.engine.live.failures import Reporter, plain
from millstream.engine.live.statistics import Counts
from millstream.engine.work import RunFailed, Work
from millstream.errors import StepError
from millstream.events import STEP_FAILED


class Restarts:
    """What follows when a long call fails: again after a pause, the end of the step, or of the run.

    A call that went well for longer than the longest pause (`Retry.cap`) has started afresh: only
    failures in a row count against the attempts.
    """

    def __init__(self, work: Work, step: Step, counts: Counts, reporter: Reporter) -> None:
        self._work, self._step, self._counts, self._reporter = work, step, counts, reporter
        self._failures = 0

    async def after(self, raised: BaseException, lived: float) -> bool:
        """Whether to begin again. Raises RunFailed where the run cannot go on without the step."""
        error = plain(raised)
        policy = self._step.retry
        if policy is not None and lived > policy.cap:
            self._failures = 0
        self._failures += 1
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        decision = retry.decide(
            policy,
            failures=self._failures,
            error=cause,
            budget=None,
            chance=self._work.chance(),
            remaining=self._work.remaining(),
        )
        if isinstance(decision, retry.Again):
            self._tell(error)
            self._counts.restarts += 1
            self._work.tally.retries += 1
            await asyncio.sleep(decision.after)
            return True
        self._reporter.failed(self._counts, None, error)
        self._counts.state = "failed"
        if self._step.optional:
            return False
        self._work.stopping = True
        raise RunFailed(self._step.name, error)

    def _tell(self, error: StepError) -> None:
        data = {
            "code": error.code,
            "message": error.message,
            "retryable": error.retryable,
            "will_retry": True,
            "fallback": False,
        }
        self._work.journal.append(STEP_FAILED, step=self._step.name, data=data)
