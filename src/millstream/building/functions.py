"""What a step's function says of itself: whether it yields or waits, and its annotations."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, get_type_hints

from millstream.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Kind:
    """Whether a function yields and whether it is asynchronous."""

    yields: bool
    asynchronous: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Kind":
        """That of the function itself, whatever it is wrapped in."""
        inner = _plain(function)
        asynchronous = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
        yields = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
        return cls(yields=yields, asynchronous=asynchronous)


def hints_of(where: str, function: Callable[..., Any], caller: FrameType) -> Mapping[str, Any]:
    """A function's annotations, resolved. Types local to the function around it are found too.

    Raises PipelineError.
    """
    plain = _plain(function)
    here = getattr(plain, "__globals__", None) is caller.f_globals
    try:
        return get_type_hints(
            plain, localns=dict(caller.f_locals) if here else None, include_extras=True
        )
    except NameError as error:
        raise PipelineError(
            f"{where}: the annotation {error.name!r} cannot be resolved; "
            "define or import that type at module level"
        ) from error
    except (AttributeError, SyntaxError, TypeError) as error:
        raise PipelineError(
            f"{where}: an annotation cannot be resolved ({error}); write the type itself, or a "
            "name that its module defines"
        ) from error


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: inside a decorator's wrapper, a partial, an object with `__call__`."""
    inner = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = inspect.unwrap(inner.func)
    return inner if inspect.isroutine(inner) else type(inner).__call__
