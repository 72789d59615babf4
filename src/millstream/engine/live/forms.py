"""Whether one function can stand in for another while a run goes on: same parameters, same kind."""

import inspect
from collections.abc import Callable
from typing import Any

from millstream.core.graph import Step


def same_form(step: Step, function: Callable[..., Any]) -> str | None:
    """What is wrong with `function` in the place of the step's own; None where nothing is."""
    fed = [arrow.parameter for arrow in step.arrows]
    fed = list(dict.fromkeys(fed + ([step.context] if step.context else [])))
    taken = inspect.signature(function).parameters
    asked = [name for name, p in taken.items() if p.default is p.empty]
    if set(asked) - set(fed) or set(fed) - set(taken):
        return (
            f"it takes ({', '.join(taken)}), and the step is fed ({', '.join(fed)}); "
            "take the same parameters"
        )
    if _kind(step.function) != _kind(function):
        return f"it is {_kind(function)}, and the step {_kind(step.function)}"
    return None


def _kind(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(function)
    if inspect.isasyncgenfunction(inner):
        return "an asynchronous generator"
    if inspect.isgeneratorfunction(inner):
        return "a generator"
    return "asynchronous" if inspect.iscoroutinefunction(inner) else "a plain function"
