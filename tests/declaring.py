"""Types and steps for the tests of how a graph is declared."""

from dataclasses import dataclass
from typing import Any, TypedDict

from msgspec import Struct
from pydantic import BaseModel

from millstream import Each, Pipeline


class Odd:
    """Nothing reads this back from JSON."""


class Model(BaseModel):
    a: int


@dataclass
class Data:
    a: int


class Record(Struct):
    a: int


class Typed(TypedDict):
    a: int


def source(flow: Pipeline, *, of: Any = str, **policies: Any) -> None:
    """A step named `numbers` that reads the input and gives `of`."""

    def numbers(text: str) -> Any: ...

    numbers.__annotations__["return"] = of
    flow.step(**policies)(numbers)


def mapped(flow: Pipeline, *, of: Any = str, **policies: Any) -> None:
    """A step named `each` that is called per element of the input."""

    def each(texts: Each[str]) -> Any: ...

    each.__annotations__["return"] = of
    flow.step(**policies)(each)
