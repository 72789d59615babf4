"""How a step's parameter reads an upstream that has many values, and what live steps give and take.

To a type checker `Each[T]` is a `T`, `Batch[T]` a `list[T]`, `Stream[T]` an iterator of `T`.
Imports nothing of ours.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar, final, get_origin

from msgspec import Struct

T = TypeVar("T")


class _EachMarker:
    """Stands in `Annotated` to say: one call per element."""

    def __repr__(self) -> str:
        return "Each"


class _BatchMarker:
    """Stands in `Annotated` to say: one call per batch of messages."""

    def __repr__(self) -> str:
        return "Batch"


Each = Annotated[T, _EachMarker()]
"""`urls: Each[Url]` is called once per url, as each comes; to the function it is a `Url`."""

Batch = Annotated[list[T], _BatchMarker()]
"""`rows: Batch[Row]`, in a live pipeline, is called with up to `Buffer.batch` messages, or with
what has come within `Buffer.linger` seconds of the first; to the function it is a `list[Row]`."""


class Stream(AsyncIterator[T]):
    """`tokens: Stream[str]` is called once, with an async iterator over values while they are
    made. In a live pipeline a plain generator, which runs in a thread, reads it with `for`.
    Only the engine makes these. `lost` counts the messages that lossy arrows into the parameter
    have dropped so far."""

    lost: int = 0

    def __iter__(self) -> "Stream[T]":
        raise TypeError("this Stream is read with `async for`; a plain `for` is for threads")

    def __next__(self) -> T:
        raise TypeError("this Stream is read with `async for`; a plain `for` is for threads")


@dataclass(frozen=True)
class From:
    """Which step, and which of its output ports, a parameter reads, where its name does not say:
    `warm: Annotated[float, From("threshold", port="above")]`.

    Several of them merge several arrows into one parameter, in the order of arrival. `tag` is
    what an `In` calls the arrow; the step's name where not given. `buffer` is this arrow's own
    Buffer, before what the step says of the parameter.
    """

    source: str
    port: str = "out"
    tag: str | None = None
    buffer: Any = None


class Out(Struct, Generic[T], frozen=True, gc=False):
    """What a step with several output ports returns or yields: a value, and where it goes."""

    port: str
    value: T


class In(Struct, Generic[T], frozen=True, gc=False):
    """What a merged parameter annotated `Each[In[T]]` or `Stream[In[T]]` gets: a value, and
    which arrow it came by."""

    port: str
    value: T


@final
class Nothing:
    """The type of NOTHING. A step says `-> float | Nothing` if it may return it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Final = Nothing()
"""What a step of a live pipeline returns where a message goes no further: a filter, not a loss."""


def is_each(annotation: Any) -> bool:
    """Whether an annotation says `Each[...]`."""
    return _marked(annotation, _EachMarker)


def is_batch(annotation: Any) -> bool:
    """Whether an annotation says `Batch[...]`."""
    return _marked(annotation, _BatchMarker)


def sources_of(annotation: Any) -> tuple[From, ...]:
    """The `From`s in an annotation."""
    if get_origin(annotation) is not Annotated:
        return ()
    return tuple(extra for extra in annotation.__metadata__ if isinstance(extra, From))


def _marked(annotation: Any, marker: type) -> bool:
    return get_origin(annotation) is Annotated and any(
        isinstance(extra, marker) for extra in annotation.__metadata__
    )
