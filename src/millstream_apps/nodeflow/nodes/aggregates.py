"""Aggregates: figures of the messages in a window.

Formulas are the usual ones; percentiles are interpolated linearly between the closest ranks
(Hyndman and Fan's type 7, which spreadsheets and NumPy use too). Law: a figure that cannot be
said (the mean of nothing) is an error, never a made-up number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from millstream import Each, StepError
from millstream_apps.nodeflow.expressions import compile_expression
from millstream_apps.nodeflow.nodes.base import Config, Text, Tools
from millstream_apps.nodeflow.nodes.windows import Window

Figure = Literal["count", "sum", "mean", "min", "max", "rate"]
Percent = Annotated[float, Meta(ge=0, le=100)]


class AggregateConfig(Config, frozen=True):
    """`figures` and `percentiles` (50 becomes `p50`, 99.9 becomes `p99.9`) of `of`, an expression
    that is worked out for each message. `rate` is in messages a second of the window's time."""

    of: Text = "value"
    figures: tuple[Figure, ...] = ("count", "mean", "min", "max")
    percentiles: tuple[Percent, ...] = ()

    def __post_init__(self) -> None:
        if not self.figures and not self.percentiles:
            raise ValueError("figures: ask for at least one figure or percentile")
        compile_expression(self.of)


def aggregate(config: AggregateConfig, _: Tools) -> Callable[[Window | list[Any]], dict[str, Any]]:
    """A window (or a plain list) in, an object of figures out."""
    of = compile_expression(config.of)

    def step(input: Each[Window | list[Any]]) -> dict[str, Any]:
        values = input.values if isinstance(input, Window) else input
        numbers = sorted(_number(of(value)) for value in values)
        told: dict[str, Any] = {
            name: FIGURES[name](numbers) for name in config.figures if name != "rate"
        }
        if "rate" in config.figures:
            told["rate"] = rate(input)
        for percent in config.percentiles:
            told[f"p{percent:g}"] = percentile(numbers, percent)
        return told

    return step


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise _refuse(f"figures need numbers, not a {kind}; let `of` name a number of the message")
    return value


def _refuse(message: str) -> StepError:
    return StepError(message, code="aggregate_failed", retryable=False)


def _some(name: str, figure: Callable[[Sequence[float]], float]) -> Callable[..., float]:
    def checked(numbers: Sequence[float]) -> float:
        if not numbers:
            raise _refuse(f"the {name} of no message at all cannot be said")
        return figure(numbers)

    return checked


FIGURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "count": len,
    "sum": math.fsum,
    "mean": _some("mean", lambda numbers: math.fsum(numbers) / len(numbers)),
    "min": _some("min", lambda numbers: numbers[0]),
    "max": _some("max", lambda numbers: numbers[-1]),
}
"""Figures of numbers in ascending order."""


def percentile(numbers: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the ascending numbers lie."""
    if not numbers:
        raise _refuse("a percentile of no message at all cannot be said")
    rank = (len(numbers) - 1) * percent / 100
    low = math.floor(rank)
    high = min(low + 1, len(numbers) - 1)
    return numbers[low] + (numbers[high] - numbers[low]) * (rank - low)


def rate(window: Window | list[Any]) -> float:
    """Messages a second, over the time that the window says."""
    if not isinstance(window, Window):
        raise _refuse("the rate of a plain list cannot be said: it has no time; read a window")
    seconds = window.end - window.start
    if seconds <= 0:
        raise _refuse("the rate of messages that came at one moment cannot be said")
    return len(window.values) / seconds
