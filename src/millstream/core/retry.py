"""Again, and when: the decision after an attempt failed. Pure: time and chance come in.

Durations are seconds.
"""

from msgspec import Struct

from millstream.policy import Retry


class Budget:
    """How many retries a step may still make, over all its runs.

    Every call deposits `budget` tokens, every retry takes one; there are `reserve` to begin with
    and at most ten times as many. When everything fails, retries therefore stay near `budget`
    per call instead of multiplying the load by `attempts`.
    """

    __slots__ = ("_cap", "_deposit", "tokens")

    def __init__(self, policy: Retry) -> None:
        self.tokens = policy.reserve
        self._deposit = policy.budget
        self._cap = max(1.0, policy.reserve) * 10

    def deposit(self) -> None:
        """A call begins."""
        self.tokens = min(self._cap, self.tokens + self._deposit)

    def withdraw(self) -> bool:
        """Take one token for a retry, if there is one."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Again(Struct, frozen=True):
    """Try again after so many seconds."""

    after: float


class GiveUp(Struct, frozen=True):
    """No further attempt; `why` is for people."""

    why: str


def pause(policy: Retry, failures: int, chance: float) -> float:
    """The pause after the `failures`-th failure (1, 2, …): exponential, capped, with jitter.

    `chance` is uniform in [0, 1). With jitter j the pause is `ceiling * (1 - j * chance)`
    (AWS Architecture Blog, "Exponential Backoff And Jitter": j = 1 is full jitter).
    """
    exponent = min(failures - 1, 64)  # beyond that every sensible cap is reached, and no overflow
    ceiling = min(policy.cap, policy.base * policy.factor**exponent)
    return ceiling * (1 - policy.jitter * chance)


def decide(
    policy: Retry | None,
    *,
    failures: int,
    error: Exception,
    budget: Budget | None,
    chance: float,
    remaining: float | None,
) -> Again | GiveUp:
    """What follows the `failures`-th failure of one step for one item.

    `remaining` is what is left until the run's deadline: a pause that would outlast it is not
    begun.
    """
    if policy is None or failures >= policy.attempts:
        return GiveUp("no attempts left")
    if not getattr(error, "retryable", True) or not isinstance(error, policy.on):
        return GiveUp("not retryable")
    after = pause(policy, failures, chance)
    if remaining is not None and after >= remaining:
        return GiveUp("the deadline comes first")
    if budget is not None and not budget.withdraw():
        return GiveUp("the retry budget is used up")
    return Again(after)
