"""Sources that make their own values: a timer, and generators of sine, chance, steps and bursts.

The same config gives the same values: chance comes from the seed.
"""

import math
import random
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

from msgspec import Meta

from millstream_apps.nodeflow.nodes.base import Config, Count, Seconds, Tools
from millstream_apps.nodeflow.nodes.pacing import paced

Rate = Annotated[float, Meta(gt=0, le=1_000_000)]


class Timer(Config, frozen=True):
    """A message every `interval` seconds, `count` times or for ever."""

    interval: Seconds = 1.0
    count: Count | None = None


class Sine(Config, frozen=True):
    """A sine of `period` seconds, `rate` values a second; `noise` is the deviation of what a
    seeded chance adds to it."""

    rate: Rate = 10.0
    period: Seconds = 10.0
    amplitude: float = 1.0
    offset: float = 0.0
    phase: float = 0.0
    noise: Annotated[float, Meta(ge=0)] = 0.0
    seed: int = 0
    count: Count | None = None


class Chance(Config, frozen=True):
    """Seeded random values: uniform from `low` to `high`, normal about the middle with a sixth of
    the range as deviation, or a walk that stays inside."""

    rate: Rate = 10.0
    kind: Literal["uniform", "normal", "walk"] = "uniform"
    low: float = 0.0
    high: float = 1.0
    seed: int = 0
    count: Count | None = None

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low: {self.low} is above high, {self.high}")


class Step(Config, frozen=True):
    """`low` for half a period, then `high` for the other half, `rate` values a second."""

    rate: Rate = 10.0
    period: Seconds = 10.0
    low: float = 0.0
    high: float = 1.0
    count: Count | None = None


class Burst(Config, frozen=True):
    """`size` messages at once, every `interval` seconds; each value is its number."""

    size: Count = 100
    interval: Seconds = 1.0
    count: Count | None = None


def timer(config: Timer, tools: Tools) -> Callable[[], AsyncIterator[dict[str, float]]]:
    """Each message is `{"count": 1, 2, 3 …, "time": seconds since the epoch}`."""

    async def source() -> AsyncIterator[dict[str, float]]:
        async for n in paced(config.interval, config.count):
            yield {"count": n + 1, "time": tools.now()}

    return source


def sine(config: Sine, _: Tools) -> Callable[[], AsyncIterator[float]]:
    """offset + amplitude · sin(2π · t / period + phase), t = n / rate."""

    async def source() -> AsyncIterator[float]:
        chance = random.Random(config.seed)
        turn = 2 * math.pi / (config.period * config.rate)
        async for n in paced(1 / config.rate, config.count):
            clean = config.offset + config.amplitude * math.sin(turn * n + config.phase)
            yield clean + chance.gauss(0.0, config.noise) if config.noise else clean

    return source


def chance(config: Chance, _: Tools) -> Callable[[], AsyncIterator[float]]:
    """Values of a generator that is seeded anew whenever the source begins."""

    async def source() -> AsyncIterator[float]:
        draw = _draw(config)
        async for _ in paced(1 / config.rate, config.count):
            yield draw()

    return source


def _draw(config: Chance) -> Callable[[], float]:
    generator = random.Random(config.seed)
    low, high = config.low, config.high
    middle, spread = (low + high) / 2, (high - low) / 6
    at = middle

    def walk() -> float:
        nonlocal at
        at = min(high, max(low, at + generator.gauss(0.0, spread / 5)))
        return at

    kinds: dict[str, Callable[[], float]] = {
        "uniform": lambda: generator.uniform(low, high),
        "normal": lambda: generator.gauss(middle, spread),
        "walk": walk,
    }
    return kinds[config.kind]


def step(config: Step, _: Tools) -> Callable[[], AsyncIterator[float]]:
    """A square wave; the first half of each period is low."""

    async def source() -> AsyncIterator[float]:
        period = config.period * config.rate
        async for n in paced(1 / config.rate, config.count):
            yield config.low if n % period < period / 2 else config.high

    return source


def burst(config: Burst, _: Tools) -> Callable[[], AsyncIterator[int]]:
    """0, 1, 2 … in bursts; `count` is how many bursts."""

    async def source() -> AsyncIterator[int]:
        async for n in paced(config.interval, config.count):
            for each in range(n * config.size, (n + 1) * config.size):
                yield each

    return source
