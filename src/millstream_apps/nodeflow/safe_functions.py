"""What safe expressions may call, and the operators that are watched. Pure; knows no syntax.

Each is bounded in time and memory whatever its arguments: a result is at most about as large as
what it is made of, or MAX_REPEATED elements, or MAX_BITS.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

MAX_REPEATED = 10_000
"""Elements or characters that a repetition may make."""
MAX_TEXT = 1_000_000
"""Characters that a value may have as text."""
MAX_BITS = 4_096
"""Of a whole number that a power or a product makes."""


def field(record: Any, name: str) -> Any:
    """A field of a mapping or of a record (Struct, dataclass, pydantic model). Raises KeyError
    where there is none, TypeError where the value has no fields."""
    if type(record) is dict or isinstance(record, Mapping):  # the first is ten times as fast
        return record[name]
    if name in _names(record):
        return getattr(record, name)
    raise TypeError(f"a {type(record).__name__} has no field {name!r}")


def _names(record: Any) -> Sequence[str]:
    kind = type(record)
    if is_dataclass(kind):
        return [each.name for each in fields(kind)]
    declared = getattr(kind, "__struct_fields__", None) or getattr(kind, "model_fields", ())
    return list(declared)


def times(left: Any, right: Any) -> Any:
    """`left * right`; a repetition of text or of a list is bounded."""
    if type(left) is float or type(right) is float:
        return left * right
    for many, count in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple):
            if not isinstance(count, int) or len(many) * max(count, 0) > MAX_REPEATED:
                raise ValueError(f"a repetition may make {MAX_REPEATED} elements, not more")
            return many * count
    product = left * right
    if isinstance(product, int) and product.bit_length() > MAX_BITS:
        raise ValueError("the product is too large")
    return product


def power(base: Any, exponent: Any) -> Any:
    """`base ** exponent` of real numbers; a whole result has at most MAX_BITS bits."""
    _numbers(base, exponent)
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and exponent > 0 and base.bit_length() * exponent > MAX_BITS:
        raise ValueError("the power is too large")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the power of a negative number is not real")
    return result


def modulo(left: Any, right: Any) -> Any:
    """The remainder of numbers. (Of text, `%` would be formatting.)"""
    _numbers(left, right)
    return left % right


def _numbers(*values: Any) -> None:
    for value in values:
        if not isinstance(value, int | float):
            raise TypeError(f"a number is needed, not a {type(value).__name__}")


def rounded(value: Any, digits: int = 0) -> Any:
    """`value` to so many decimals, from -300 to 300; a whole number for 0."""
    _numbers(value, digits)
    if not -300 <= digits <= 300:
        raise ValueError("round() takes from -300 to 300 decimals")
    return round(value, int(digits)) if digits else round(value)


def get(record: Any, name: str, default: Any = None) -> Any:
    """A field, or `default` where there is none."""
    try:
        return field(record, name)
    except (KeyError, TypeError):
        return default


def text(value: Any) -> str:
    """A value as text; the name of its type where it is no JSON value."""
    if not (value is None or isinstance(value, str | int | float | list | tuple | Mapping)):
        return type(value).__name__
    said = str(value)
    if len(said) > MAX_TEXT:  # text of text of text: each time its quotes need more escapes
        raise ValueError(f"text of more than {MAX_TEXT} characters")
    return said


def lower(value: str) -> str:
    """Text in small letters."""
    return _text(value).lower()


def upper(value: str) -> str:
    """Text in capitals."""
    return _text(value).upper()


def starts(value: str, beginning: str) -> bool:
    """Whether a text begins so."""
    return _text(value).startswith(_text(beginning))


def ends(value: str, end: str) -> bool:
    """Whether a text ends so."""
    return _text(value).endswith(_text(end))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not a {type(value).__name__}")
    return value


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "sum": sum,
    "len": len,
    "round": rounded,
    "int": int,
    "float": float,
    "str": text,
    "bool": bool,
    "sqrt": math.sqrt,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "isnan": math.isnan,
    "get": get,
    "lower": lower,
    "upper": upper,
    "starts": starts,
    "ends": ends,
}
"""What an expression may call, by name."""

OPERATORS: Mapping[str, Callable[..., Any]] = {
    "_field": field,
    "_times": times,
    "_power": power,
    "_modulo": modulo,
}
"""What stands in the place of watched operators; a user cannot name them."""

CONSTANTS: Mapping[str, Any] = {
    "pi": math.pi,
    "true": True,
    "false": False,
    "null": None,
}
"""Names beside `value`."""
