"""The library: every node type that a flow may use, over the tools that are brought.

One table; the nodes themselves stand in the modules beside this one.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from millstream import Breaker, NodeType, NodeTypes, Port
from millstream_apps.nodeflow.nodes import (
    aggregates,
    alerts,
    files,
    joining,
    outputs,
    sources,
    timing,
    transforms,
    web,
    windows,
)
from millstream_apps.nodeflow.nodes.base import Config, Tools

Make = Callable[[Any, Tools], Callable[..., Any]]
INPUT = (Port("input"),)


def library(tools: Tools) -> NodeTypes:
    """All node types, each with its doc, its config's model and its ports."""
    make = partial(_type, tools)
    return NodeTypes([*_sources(make), *_messages(make), *_time(make), *_outputs(make)])


def _sources(make: Callable[..., NodeType]) -> list[NodeType]:
    make = partial(make, inputs=())
    return [
        make("timer", sources.timer, sources.Timer),
        make("sine", sources.sine, sources.Sine, gives=float),
        make("random", sources.chance, sources.Chance, gives=float),
        make("step", sources.step, sources.Step, gives=float),
        make("burst", sources.burst, sources.Burst, gives=int),
        make("http-poll", web.http_poll, web.PollConfig, ports=("out", "error")),
        make("file-tail", files.file_tail, files.TailConfig, ports=("out", "bad")),
        make("ndjson", files.ndjson, files.RecordsConfig, ports=("out", "bad")),
        make("csv", files.csv_rows_of, files.CsvConfig, ports=("out", "bad")),
    ]


def _messages(make: Callable[..., NodeType]) -> list[NodeType]:
    figures = {"inputs": (Port("input", windows.Window | list[Any]),), "gives": dict[str, Any]}
    return [
        make("map", transforms.map_, transforms.MapConfig),
        make("filter", transforms.filter_, transforms.FilterConfig),
        make("split", transforms.split, transforms.SplitConfig),
        make("switch", transforms.switch, transforms.SwitchConfig, ports=_cases),
        make("merge", transforms.merge, Config),
        make("aggregate", aggregates.aggregate, aggregates.AggregateConfig, **figures),
        make("alert", alerts.alert, alerts.AlertConfig, gives=alerts.Alert),
    ]


def _time(make: Callable[..., NodeType]) -> list[NodeType]:
    ends = {"inputs": (Port(joining.LEFT), Port(joining.RIGHT)), "ports": ("out", "unmatched")}
    return [
        make("throttle", timing.throttle, timing.ThrottleConfig),
        make("sample", timing.sample, timing.SampleConfig),
        make("debounce", timing.debounce, timing.DebounceConfig),
        make("window", windows.window, windows.WindowConfig, gives=windows.Window),
        make("join", joining.join, joining.JoinConfig, **ends),
    ]


def _outputs(make: Callable[..., NodeType]) -> list[NodeType]:
    widget = partial(make, ports=(), publish="watched")
    sent = {"gives": web.Sent, "publish": "never", "concurrency": 8, "breaker": Breaker()}
    return [
        make("log", outputs.log, outputs.LogConfig, gives=outputs.Entry, publish="always"),
        make("webhook", web.webhook, web.WebhookConfig, **sent),
        widget("chart", outputs.chart, outputs.ChartConfig),
        widget("table", outputs.table, outputs.TableConfig),
        widget("log-view", outputs.logs, outputs.LogsConfig),
    ]


def _cases(config: transforms.SwitchConfig) -> tuple[Port, ...]:
    return tuple(Port(name) for name in config.ports)


def _type(
    tools: Tools,
    name: str,
    make: Make,
    config: type[Config],
    *,
    inputs: tuple[Port, ...] = INPUT,
    ports: tuple[str, ...] | Callable[[Any], tuple[Port, ...]] = ("out",),
    gives: Any = Any,
    **policies: Any,
) -> NodeType:
    """One type. What it is for is said by the docstrings of its function and its config."""
    outputs_ = ports if callable(ports) else tuple(Port(port, gives) for port in ports)
    said: Mapping[str, Any] = policies
    return NodeType(
        name,
        partial(_made, make, tools),
        config=config,
        inputs=inputs,
        outputs=outputs_,
        doc=f"{make.__doc__ or ''} {config.__doc__ or ''}".strip(),
        policies=said,
    )


def _made(make: Make, tools: Tools, config: Any) -> Callable[..., Any]:
    return make(config, tools)
