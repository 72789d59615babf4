"""Whether to try again, and when. Pure: time and chance come in as arguments.

In the client's room; imports the standard library and msgspec alone.
"""

from msgspec import Struct


class Patience(Struct, frozen=True):
    """How long a server may be out of reach. Seconds.

    Before try n + 1 there is a pause drawn uniformly from 0 to `min(cap, base * 2 ** n)` ("full
    jitter": clients that lost the same server do not come back in step). A connection that held
    for `steady` counts as well again, so that a quiet run may drop it now and then for ever.
    """

    give_up_after: float = 60.0
    base: float = 0.2
    cap: float = 10.0
    steady: float = 5.0


class Trouble(Struct, frozen=True):
    """Failures in a row, and when the first of them was."""

    failures: int = 0
    since: float = 0.0


CALM = Trouble()


class Pause(Struct, frozen=True):
    """Told to whoever asked for it (`on_retry`): what went wrong, and how long the pause is."""

    reason: str
    seconds: float
    failures: int


def decide(
    patience: Patience, trouble: Trouble, *, now: float, chance: float, at_least: float = 0.0
) -> tuple[Trouble, float | None]:
    """After one more failure: what the trouble is now, and the pause before the next try in
    seconds; None when it is time to give up.

    `chance` is from 0 to 1; `at_least` is what the server asked for (Retry-After).
    """
    since = trouble.since if trouble.failures else now
    worse = Trouble(trouble.failures + 1, since)
    left = since + patience.give_up_after - now
    if left <= 0 or at_least > left:
        return worse, None
    growth = 2.0 ** min(trouble.failures, 32)
    drawn = chance * min(patience.cap, patience.base * growth)
    return worse, min(at_least + drawn, left)
