"""What thins a stream out by time or number: throttle, sample, debounce. Leaving messages out is
what they are for; it is counted as filtered, never as lost.
"""

import math
import random
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

from msgspec import Meta

from millstream import NOTHING, Each, Nothing, Stream
from millstream_apps.nodeflow.nodes.base import Config, Count, Seconds, Tools
from millstream_apps.nodeflow.nodes.pacing import Inbox, Silence


class ThrottleConfig(Config, frozen=True):
    """At most `count` messages in `seconds`, in the long run; up to `count` of them at once."""

    count: Count = 1
    seconds: Seconds = 1.0


class SampleConfig(Config, frozen=True):
    """One message of `every`; or the share `chance` of them (0 to 1), drawn by the seed; or the
    first in every `seconds`."""

    by: Literal["number", "chance", "time"] = "number"
    every: Count = 10
    chance: Annotated[float, Meta(ge=0, le=1)] = 0.1
    seconds: Seconds = 1.0
    seed: int = 0


class DebounceConfig(Config, frozen=True):
    """The last message, once nothing has come for `seconds`; after `most` seconds of unrest at the
    latest (0: wait for ever)."""

    seconds: Seconds = 0.3
    most: Annotated[float, Meta(ge=0)] = 0.0


def throttle(config: ThrottleConfig, tools: Tools) -> Callable[[Any], Any]:
    """A token bucket: `count` tokens, refilled at count / seconds."""
    now, size = tools.now, float(config.count)
    refill = config.count / config.seconds
    tokens, at = size, now()

    def step(input: Each[Any]) -> Any | Nothing:
        nonlocal tokens, at
        moment = now()
        tokens = min(size, tokens + max(0.0, moment - at) * refill)
        at = moment
        if tokens < 1.0 - 1e-9:
            return NOTHING
        tokens -= 1.0
        return input

    return step


def sample(config: SampleConfig, tools: Tools) -> Callable[[Any], Any]:
    """The first message always goes through, except by chance."""
    taken = _sampler(config, tools.now)

    def step(input: Each[Any]) -> Any | Nothing:
        return input if taken() else NOTHING

    return step


def _sampler(config: SampleConfig, now: Callable[[], float]) -> Callable[[], bool]:
    seen = -1
    due = -math.inf
    draw = random.Random(config.seed).random

    def by_number() -> bool:
        nonlocal seen
        seen += 1
        return seen % config.every == 0

    def by_time() -> bool:
        nonlocal due
        moment = now()
        if moment < due:
            return False
        due = moment + config.seconds
        return True

    kinds: dict[str, Callable[[], bool]] = {
        "number": by_number,
        "time": by_time,
        "chance": lambda: draw() < config.chance,
    }
    return kinds[config.by]


def debounce(config: DebounceConfig, tools: Tools) -> Callable[[Stream[Any]], AsyncIterator[Any]]:
    """Gives the newest message of each unrest when it is over; what waits at the end is given."""

    async def step(input: Stream[Any]) -> AsyncIterator[Any]:
        held: Any = Silence.TIMEOUT
        until = first = 0.0
        async with Inbox(input, lambda: () if held is Silence.TIMEOUT else (held,)) as inbox:
            while True:
                waits = held is not Silence.TIMEOUT
                value = await inbox.next(until - tools.now() if waits else None)
                if value is Silence.END:
                    break
                if value is Silence.TIMEOUT:
                    if tools.now() >= until:
                        yield held
                        held = Silence.TIMEOUT
                    continue
                moment = tools.now()
                first = first if waits else moment
                held, until = value, moment + config.seconds
                if config.most:
                    until = min(until, first + config.most)
        if held is not Silence.TIMEOUT:
            yield held

    return step
