"""How a Python value becomes JSON and comes back, by its annotation; and which types fit which.

msgspec does dataclasses, Structs and plain types; pydantic does its own models and what holds
them. Knows nothing of steps or runs.
"""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter, ValidationError

Decoder = Callable[[bytes], Any]

MANY = (list, tuple, set, frozenset, Sequence, Iterable)


def strip(annotation: Any) -> Any:
    """`Annotated[T, …]` as `T`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def union_members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; the annotation alone where it is none."""
    annotation = strip(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for arg in get_args(annotation) for member in union_members(arg))
    return (annotation,)


def element(annotation: Any) -> Any:
    """The `T` of `list[T]`, `tuple[T, ...]` and the like; Any where nothing is said; None where
    values of this type have no elements to map over."""
    found = [_element(member) for member in union_members(annotation) if member is not type(None)]
    return found[0] if len(found) == 1 else (Any if any(found) else None)


def _element(annotation: Any) -> Any:
    if annotation is Any or annotation in MANY:
        return Any
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return arguments[0] if len(arguments) == 2 and arguments[1] is ... else None
    if origin is not None and origin in MANY and arguments:
        return arguments[0]
    return None


def uses_pydantic(annotation: Any) -> bool:
    """Whether a pydantic model stands anywhere in the annotation."""
    annotation = strip(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(uses_pydantic(arg) for arg in get_args(annotation) if arg is not ...)


def decoder(annotation: Any) -> Decoder:
    """A function from JSON bytes to a value of that type (plain JSON types for Any).

    Raises TypeError where the type cannot be read back from JSON; the function made raises
    ValueError (of msgspec or pydantic) for JSON that does not fit.
    """
    try:
        hash(annotation)
    except TypeError:  # such as Annotated[int, {"unit": "s"}]
        return _decoder.__wrapped__(annotation)
    return _decoder(annotation)


@lru_cache(maxsize=1024)
def _decoder(annotation: Any) -> Decoder:
    if uses_pydantic(annotation):
        return _pydantic(annotation)
    try:
        msgspec.json.schema(annotation)  # refuses what it cannot read; the decoder does so late
        return msgspec.json.Decoder(annotation).decode
    except (TypeError, RuntimeError):
        return _pydantic(annotation)


def _pydantic(annotation: Any) -> Decoder:
    try:
        return TypeAdapter(annotation).validate_json
    except (PydanticSchemaGenerationError, TypeError, NameError) as error:
        raise TypeError(f"{describe(annotation)} cannot be read back from JSON") from error


def field_errors(error: Exception) -> list[dict[str, str]]:
    """What a decoder objected to, field by field: `{"field": "files[2].size", "message": …}`."""
    if isinstance(error, ValidationError):
        return [
            {"field": dotted(each["loc"]), "message": each["msg"]}
            for each in error.errors(include_url=False, include_input=False)
        ]
    text, _, where = str(error).partition(" - at `")
    path = where.rstrip("`").removeprefix("$").removeprefix(".")
    return [{"field": path, "message": text}]


def dotted(location: Sequence[str | int]) -> str:
    """A path into a document as text: `files[2].size`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def describe(annotation: Any) -> str:
    """An annotation as a person would write it."""
    annotation = strip(annotation)
    if annotation is type(None):
        return "None"
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(describe(member) for member in union_members(annotation))
    name = getattr(annotation, "__name__", None)
    if name is None or get_args(annotation):
        arguments = get_args(annotation)
        base = getattr(get_origin(annotation), "__name__", str(annotation).replace("typing.", ""))
        inner = ", ".join("..." if a is ... else describe(a) for a in arguments)
        return f"{base}[{inner}]" if arguments else base
    return name


def fits(source: Any, target: Any) -> bool:
    """Whether a value annotated `source` may be given where `target` is asked for.

    Says no only when sure: what it cannot compare (type variables, protocols, Any) fits.
    """
    source_members, target_members = union_members(source), union_members(target)
    return all(any(_fits_one(s, t) for t in target_members) for s in source_members)


_WIDENS: Mapping[type, tuple[type, ...]] = {float: (int,), complex: (int, float)}  # PEP 484


def _fits_one(source: Any, target: Any) -> bool:
    if Any in (source, target) or target is object or source == target:
        return True
    source_class, target_class = _class(source), _class(target)
    if source_class is None or target_class is None:
        return True
    if getattr(target_class, "_is_protocol", False):
        return True
    if source_class in _WIDENS.get(target_class, ()):
        return True
    try:
        if not issubclass(source_class, target_class):
            return False
    except TypeError:  # a TypedDict, say, which no class can be compared with
        return issubclass(source_class, Mapping)
    return _arguments_fit(source, target)


def _class(annotation: Any) -> type | None:
    if annotation is None:
        return type(None)
    origin = get_origin(annotation) or annotation
    return origin if isinstance(origin, type) else None


def _arguments_fit(source: Any, target: Any) -> bool:
    mine, theirs = get_args(source), get_args(target)
    if not mine or not theirs or len(mine) != len(theirs):
        return True
    return all(a is ... or b is ... or fits(a, b) for a, b in zip(mine, theirs, strict=True))


def is_model(annotation: Any) -> bool:
    """Whether it is a model: pydantic, dataclass or Struct, whose fields are a request's fields."""
    annotation = strip(annotation)
    return isinstance(annotation, type) and (
        issubclass(annotation, BaseModel | msgspec.Struct) or is_dataclass(annotation)
    )
