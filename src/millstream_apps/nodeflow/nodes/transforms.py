"""What is done to one message: map, filter, split, switch, merge. By safe expressions.

Plain functions, called once per message: neighbours of this kind run as one call.
"""

from collections.abc import Callable, Iterator
from typing import Any

from millstream import NOTHING, Each, Nothing, Out, StepError
from millstream_apps.nodeflow.expressions import compile_expression
from millstream_apps.nodeflow.nodes.base import Config, Text, Tools

Message = Any


class MapConfig(Config, frozen=True):
    """`to` is what becomes of a message: `value * 9 / 5 + 32`, or `{"celsius": value.c}`."""

    to: Text = "value"

    def __post_init__(self) -> None:
        compile_expression(self.to)


class FilterConfig(Config, frozen=True):
    """Only messages for which `keep` holds go on."""

    keep: Text

    def __post_init__(self) -> None:
        compile_expression(self.keep)


class SplitConfig(Config, frozen=True):
    """`into` gives a list; each of its elements becomes a message."""

    into: Text = "value"

    def __post_init__(self) -> None:
        compile_expression(self.into)


class Case(Config, frozen=True):
    """A port, and when a message goes there."""

    port: Text
    when: Text


class SwitchConfig(Config, frozen=True):
    """A message goes to the port of the first case that holds, or else to `otherwise`."""

    cases: tuple[Case, ...]
    otherwise: Text = "otherwise"

    def __post_init__(self) -> None:
        names = self.ports
        if len(set(names)) < len(names):
            raise ValueError("cases: each port has a name of its own")
        for case in self.cases:
            compile_expression(case.when)

    @property
    def ports(self) -> tuple[str, ...]:
        """The output ports, the last of them for what fits no case."""
        return (*(case.port for case in self.cases), self.otherwise)


def map_(config: MapConfig, _: Tools) -> Callable[[Message], Message]:
    """Each message becomes what the expression says."""
    to = compile_expression(config.to)

    def step(input: Each[Any]) -> Any:
        return to(input)

    return step


def filter_(config: FilterConfig, _: Tools) -> Callable[[Message], Message]:
    """Lets messages through, or not."""
    keep = compile_expression(config.keep)

    def step(input: Each[Any]) -> Any | Nothing:
        return input if keep(input) else NOTHING

    return step


def split(config: SplitConfig, _: Tools) -> Callable[[Message], Iterator[Message]]:
    """One list in, its elements out."""
    into = compile_expression(config.into)

    def step(input: Each[Any]) -> Iterator[Any]:
        found = into(input)
        if not isinstance(found, list | tuple):
            kind = type(found).__name__
            told = f"split needs a list, not a {kind}; let `into` name the list in the message"
            raise StepError(told, code="not_a_list", retryable=False)
        yield from found

    return step


def switch(config: SwitchConfig, _: Tools) -> Callable[[Message], Out[Message]]:
    """Sends each message to one port."""
    cases = [(compile_expression(case.when), case.port) for case in config.cases]
    otherwise = config.otherwise

    def step(input: Each[Any]) -> Out[Any]:
        for holds, port in cases:
            if holds(input):
                return Out(port, input)
        return Out(otherwise, input)

    return step


def merge(_: Config, __: Tools) -> Callable[[Message], Message]:
    """Whatever comes by its edges goes on, in the order in which it comes."""

    def step(input: Each[Any]) -> Any:
        return input

    return step
