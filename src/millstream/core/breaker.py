"""A circuit breaker as a table: closed, open, half-open. Time comes in, in seconds.

After M. Nygard, "Release It!" (2007): enough failures open it, a pause later one trial call goes
through, and its outcome closes the breaker or opens it again.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final, Literal

from millstream.policy import Breaker

State = Literal["closed", "open", "half-open"]
Happening = Literal["success", "failure", "limit", "pause over"]

TRANSITIONS: Final[Mapping[tuple[State, Happening], State]] = {
    ("closed", "success"): "closed",
    ("closed", "failure"): "closed",
    ("closed", "limit"): "open",
    ("open", "success"): "open",  # a call that had begun before
    ("open", "failure"): "open",
    ("open", "pause over"): "half-open",
    ("half-open", "success"): "closed",
    ("half-open", "failure"): "open",
}
"""(state, what happened) -> state. "limit": the failure that made them too many."""


class Circuit:
    """One step's breaker. Ask `allows` before a call, and tell how it ended."""

    def __init__(self, policy: Breaker) -> None:
        self._policy = policy
        self.state: State = "closed"
        self._failures: deque[float] = deque()
        self._opened = 0.0
        self._trying = False

    def allows(self, now: float) -> bool:
        """Whether a call may be made now. Where it is the trial call, no other one is until this
        one has ended."""
        if self.state == "open" and now - self._opened >= self._policy.open_for:
            self._happens("pause over")
            self._trying = False
        if self.state == "half-open":
            first, self._trying = not self._trying, True
            return first
        return self.state == "closed"

    def succeeded(self) -> bool:
        """A call went well. Whether that closed the breaker."""
        before = self.state
        self._happens("success")
        if before == "half-open":
            self._failures.clear()
        return before != self.state

    def failed(self, now: float) -> bool:
        """A call failed. Whether that opened the breaker (anew)."""
        before = self.state
        self._failures.append(now)
        while self._failures and self._failures[0] <= now - self._policy.per:
            self._failures.popleft()
        too_many = before == "closed" and len(self._failures) >= self._policy.failures
        self._happens("limit" if too_many else "failure")
        opened = before != self.state
        if opened:
            self._opened = now
            self._failures.clear()
        return opened

    def left(self) -> None:
        """A call was broken off: it says nothing, and the next may be the trial."""
        self._trying = False

    def reopens(self, now: float) -> float:
        """Seconds until the next call may be tried; 0 where one may be."""
        if self.state != "open":
            return 0.0
        return max(0.0, self._opened + self._policy.open_for - now)

    def _happens(self, what: Happening) -> None:
        self.state = TRANSITIONS[self.state, what]
