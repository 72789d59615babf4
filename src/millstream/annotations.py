"""Each and Stream: how a step's parameter reads an upstream that has many values.

To a type checker `Each[T]` is a `T` and `Stream[T]` an `AsyncIterator[T]`. Imports nothing of ours.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar, get_origin

T = TypeVar("T")


class _EachMarker:
    """Stands in `Annotated` to say: one call per element."""

    def __repr__(self) -> str:
        return "Each"


Each = Annotated[T, _EachMarker()]
"""`urls: Each[Url]` is called once per url, as each comes; to the function it is a `Url`."""


class Stream(AsyncIterator[T]):
    """`tokens: Stream[str]` is called once, with an async iterator over values while they are
    made. Only the engine makes these."""


def is_each(annotation: Any) -> bool:
    """Whether an annotation says `Each[...]`."""
    return get_origin(annotation) is Annotated and any(
        isinstance(extra, _EachMarker) for extra in annotation.__metadata__
    )
