"""Alerts: a value crosses a threshold, and comes back. Told once each time, with hysteresis.

Without hysteresis a value that trembles about its threshold would raise an alert with each
message: it clears only when the value is back by `hysteresis`.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from millstream import NOTHING, Each, Nothing, StepError
from millstream_apps.nodeflow.expressions import compile_expression
from millstream_apps.nodeflow.nodes.base import Config, Text, Tools

Level = Literal["ok", "warning", "critical"]
RANKS: dict[Level, int] = {"ok": 0, "warning": 1, "critical": 2}


class AlertConfig(Config, frozen=True):
    """`of` gives the number of a message. It is too high at `warning` or `critical` and above, or
    too low at them and below where `when` says so; either threshold may be left out."""

    name: Text = "alert"
    of: Text = "value"
    when: Literal["above", "below"] = "above"
    warning: float | None = None
    critical: float | None = None
    hysteresis: Annotated[float, Meta(ge=0)] = 0.0

    def __post_init__(self) -> None:
        compile_expression(self.of)
        if self.warning is None and self.critical is None:
            raise ValueError("warning: give at least one threshold, warning or critical")
        if self.warning is not None and self.critical is not None:
            worse = self.critical - self.warning
            if (worse if self.when == "above" else -worse) < 0:
                raise ValueError(f"critical: {self.critical} comes before warning, {self.warning}")


class Alert(Struct, frozen=True):
    """A change of level. `threshold` is the one that was crossed, `time` in seconds since the
    epoch."""

    name: str
    level: Level
    previous: Level
    value: float
    threshold: float
    time: float


def level_of(config: AlertConfig, value: float, previous: Level) -> Level:
    """The level that a value stands for, given the level before. Pure.

    A level is entered at its threshold, and left when the value is back beyond it by more than
    the hysteresis.
    """
    sign = 1.0 if config.when == "above" else -1.0
    thresholds: tuple[tuple[Level, float | None], ...] = (
        ("critical", config.critical),
        ("warning", config.warning),
    )
    for level, threshold in thresholds:
        if threshold is None:
            continue
        beyond = sign * (value - threshold)
        held = RANKS[previous] >= RANKS[level]
        if beyond >= (-config.hysteresis if held else 0.0):
            return level
    return "ok"


def alert(config: AlertConfig, tools: Tools) -> Callable[[Any], Any]:
    """Messages in, changes of level out."""
    of = compile_expression(config.of)
    level: Level = "ok"

    def step(input: Each[Any]) -> Alert | Nothing:
        nonlocal level
        value = of(input)
        if isinstance(value, bool) or not isinstance(value, int | float):
            told = f"an alert needs a number, not a {type(value).__name__}; let `of` name it"
            raise StepError(told, code="not_a_number", retryable=False)
        before, level = level, level_of(config, value, level)
        if level == before:
            return NOTHING
        crossed = level if RANKS[level] > RANKS[before] else before
        threshold = getattr(config, crossed)
        return Alert(config.name, level, before, value, threshold, tools.now())

    return step
