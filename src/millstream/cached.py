"""Cached steps, before anything runs: which steps may be cached, and what a result is known by.

Pure. Knows no store and no engine; `engine/caching.py` acts on it.

A result's name is a hash of its step's version and of the arguments, as canonical JSON: keys in
order, a file by its content (whatever it is called, wherever it lies), a model by its fields.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b, sha256
from types import CodeType
from typing import Any

import msgspec
from pydantic import BaseModel

from millstream.blobs import Upload
from millstream.core.graph import Reading, Step
from millstream.errors import PipelineError, did_you_mean
from millstream.events import encode

# --- which steps may be ---------------------------------------------------------------------------


def check_declared(where: str, step: Step, *, live: bool) -> None:
    """What can be wrong with a cached step alone. Raises PipelineError."""
    if live:
        raise PipelineError(
            f"{where}: cache= is for pipelines whose results are all logged; drop it, or live=True"
        )
    if step.internal:
        raise PipelineError(
            f"{where} is internal, so its value has no JSON form that could be kept: drop cache=, "
            "or internal=True"
        )
    taken = inspect.signature(step.function).parameters
    for name in _parameters(step):
        if name not in taken:
            raise PipelineError(
                f"{where}: the cache's key= takes {name!r}, which is no parameter of the step"
                f"{did_you_mean(name, taken)}"
            )


def check_placed(where: str, step: Step, steps: Mapping[str, Step]) -> None:
    """What can be wrong with what a cached step reads. Raises PipelineError."""
    compared = _parameters(step)
    for arrow in step.arrows:
        if arrow.reading is Reading.STREAM:
            raise PipelineError(
                f"{where}, parameter {arrow.parameter!r} is a Stream, which is read while it comes "
                "and cannot be compared beforehand: take it as list[...], or drop cache="
            )
        source = steps.get(arrow.source)
        counts = not compared or arrow.parameter in compared
        if source is not None and source.internal and counts and step.cache and not step.cache.key:
            raise PipelineError(
                f"{where}, parameter {arrow.parameter!r} comes from the internal step "
                f"{arrow.source!r}, whose value has no JSON form to be compared by: give the cache "
                "a key=, a function of the parameters that count"
            )


def _parameters(step: Step) -> tuple[str, ...]:
    """The parameters that the cache's `key` takes."""
    key = step.cache.key if step.cache else None
    return () if key is None else tuple(inspect.signature(key).parameters)


# --- what a result is known by --------------------------------------------------------------------


def space_of(pipeline: str, step: Step) -> str:
    """Where a step's results are kept together, whatever their version."""
    return f"{pipeline}/{step.name}"


def version_of(step: Step) -> str:
    """Which code makes the results: what the cache's `version` says, else the function's own
    bytecode, constants and defaults (not what it calls). Differs between versions of Python."""
    if step.cache is not None and step.cache.version is not None:
        return f"version {step.cache.version}"
    made = sha256()
    for each in _functions(step.function):
        code = getattr(each, "__code__", None)
        if code is not None:
            _feed(made.update, code)
        defaults = getattr(each, "__defaults__", None), getattr(each, "__kwdefaults__", None)
        made.update(_said(defaults))
    return f"code {made.hexdigest()}"


def _functions(function: Callable[..., Any]) -> list[Any]:
    """The function, and what it is wrapped around: decorators' insides and partials'."""
    found: list[Any] = []
    inner: Any = function
    while inner is not None:
        found.append(inner)
        inner = inner.func if isinstance(inner, partial) else getattr(inner, "__wrapped__", None)
    if not hasattr(found[-1], "__code__"):
        found.append(type(found[-1]).__call__)
    return found


def _feed(update: Callable[[bytes], object], code: CodeType) -> None:
    """Everything in a code object that says what it does; nothing of where it stands."""
    update(code.co_code)
    update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _feed(update, constant)
        elif isinstance(constant, frozenset):
            update(repr(sorted(map(repr, constant))).encode())
        else:
            update(repr(constant).encode())


def _said(value: Any) -> bytes:
    """A value as far as it has a JSON form; else its type (a repr may hold an address)."""
    try:
        return encode(value)
    except TypeError:
        return type(value).__name__.encode()


def key_of(step: Step, version: str, arguments: Mapping[str, Any]) -> str:
    """What the result of a call is known by: 32 hexadecimal digits of BLAKE2b (128 bits).

    Raises TypeError where an argument has no JSON form.
    """
    key = step.cache.key if step.cache else None
    if key is not None:
        compared: Any = key(**{name: arguments[name] for name in _parameters(step)})
    else:
        compared = {arrow.parameter: arguments[arrow.parameter] for arrow in step.arrows}
    hashed = blake2b(version.encode() + b"\n", digest_size=16)
    hashed.update(_canonical(compared))
    return hashed.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Upload):
        return {"sha256": value.sha256, "size": value.size}
    if isinstance(value, BaseModel):
        return dict(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise NotImplementedError(f"a {type(value).__name__} cannot be compared as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain, order="sorted")


def _canonical(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except (NotImplementedError, ValueError, OverflowError) as error:
        raise TypeError(str(error)) from error
