"""Where a flow is seen: the log of its run, and widgets (chart, table, log) that get batches.

A widget publishes what has come at most every 16 ms (one picture of a screen), and publishes only
while somebody watches the run. Items are `{timestamp, value, metadata}`, with milliseconds since
the epoch as browsers count them; a log's values are `{level, message, details}`. A message that
cannot be shown is an item without value, whose metadata says why.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from millstream import Each, StepError, Stream
from millstream_apps.nodeflow.expressions import compile_expression
from millstream_apps.nodeflow.nodes.alerts import Alert
from millstream_apps.nodeflow.nodes.base import Config, Count, Text, Tools
from millstream_apps.nodeflow.nodes.pacing import Inbox, Silence

LogLevel = Literal["debug", "info", "warn", "error"]
LEVELS: Mapping[str, LogLevel] = {"ok": "info", "warning": "warn", "critical": "error"}


class WidgetConfig(Config, frozen=True):
    """`title` stands above it; `interval` is the least time between two batches, in milliseconds;
    `most` bounds one batch (then it is given at once). `show` is what is shown of a message."""

    title: str = ""
    show: Text = "value"
    interval: Annotated[float, Meta(ge=16, le=60_000)] = 16.0
    most: Count = 1_000

    def __post_init__(self) -> None:
        compile_expression(self.show)


class ChartConfig(WidgetConfig, frozen=True):
    """`points` is how many stay in view."""

    points: Count = 100


class TableConfig(WidgetConfig, frozen=True):
    """`columns` names the fields to show (all, where none is named); `page` is the rows of one."""

    columns: tuple[str, ...] = ()
    page: Count = 50


class LogsConfig(WidgetConfig, frozen=True):
    """`level` of what does not say its own; `lines` is how many stay in view."""

    level: LogLevel = "info"
    lines: Count = 1_000


class LogConfig(Config, frozen=True):
    """What is written of each message to the run's log: `message` is an expression; a text becomes
    a line at `level`, an alert a line at the level that fits it."""

    level: LogLevel = "info"
    message: Text = "value"

    def __post_init__(self) -> None:
        compile_expression(self.message)


class Item(Struct, frozen=True, omit_defaults=True):
    """One message as a widget gets it. `timestamp` is in milliseconds since the epoch."""

    timestamp: float
    value: Any
    metadata: Mapping[str, Any] = {}


class Entry(Struct, frozen=True):
    """One line of a log."""

    level: LogLevel
    message: str
    details: Any = None


Widget = Callable[[Stream[Any]], AsyncIterator[list[Item]]]


def chart(config: ChartConfig, tools: Tools) -> Widget:
    """Numbers, or objects of numbers by the name of their line."""
    return _widget(config, tools, _chartable)


def table(config: TableConfig, tools: Tools) -> Widget:
    """Objects, a row each; other values get one column."""

    def row(value: Any) -> Any:
        return value if isinstance(value, Mapping | Struct) else {"value": value}

    return _widget(config, tools, row)


def logs(config: LogsConfig, tools: Tools) -> Widget:
    """Anything; an alert gets the level that fits it."""
    return _widget(config, tools, lambda value: entry(value, config.level))


def entry(value: Any, level: LogLevel) -> Entry:
    """A value as a line of a log."""
    if isinstance(value, Entry):
        return value
    if isinstance(value, Alert):
        said = f"{value.name}: {value.previous} -> {value.level} at {value.value:g}"
        return Entry(LEVELS[value.level], said, value)
    if isinstance(value, Mapping) and isinstance(value.get("message"), str):
        own = value.get("level")
        known: LogLevel = own if own in ("debug", "info", "warn", "error") else level
        return Entry(known, value["message"], value.get("details"))
    return Entry(level, value if isinstance(value, str) else str(value))


def log(config: LogConfig, _: Tools) -> Callable[[Any], Entry]:
    """Writes each message to the run's log, whether or not anybody watches."""
    message = compile_expression(config.message)

    def step(input: Each[Any]) -> Entry:
        return entry(message(input), config.level)

    return step


def _chartable(value: Any) -> Any:
    if type(value) is float or type(value) is int:
        return value
    numbers = value.values() if isinstance(value, Mapping) else [value]
    for number in numbers:
        if not isinstance(number, int | float):
            told = f"a chart needs numbers, not a {type(number).__name__}; let `show` name them"
            raise StepError(told, code="not_a_number", retryable=False)
    return value


def _widget(config: WidgetConfig, tools: Tools, shape: Callable[[Any], Any]) -> Widget:
    """Gathers items, and gives them as a list when `interval` has passed since the last one."""
    show, interval = compile_expression(config.show), config.interval / 1000

    def item(value: Any, moment: float) -> Item:
        timestamp = round(moment * 1000, 1)
        try:
            return Item(timestamp, shape(show(value)))
        except StepError as error:  # its neighbours are shown all the same
            return Item(timestamp, None, {"error": error.message})

    async def step(input: Stream[Any]) -> AsyncIterator[list[Item]]:
        held: list[Any] = []
        items: list[Item] = []
        due = 0.0
        async with Inbox(input, lambda: held) as inbox:
            while True:
                value = await inbox.next(due - tools.now() if held else None)
                if value is Silence.END:
                    break
                moment = tools.now()
                if value is not Silence.TIMEOUT:
                    held.append(value)
                    items.append(item(value, moment))
                if held and (moment >= due or len(held) >= config.most):
                    yield items
                    held, items, due = [], [], moment + interval
        if items:
            yield items

    return step
