"""Safe HTML: elements from data. Whatever comes from outside goes in as text; there is no way to
write a script, a listener or an address that runs something. Pure.
"""

from collections.abc import Iterable
from html import escape as _escape
from typing import Any, Final

VOID: Final = frozenset({"img", "meta", "br", "hr"})
NEVER: Final = frozenset({"script", "object", "embed", "link", "base", "form"})
ADDRESSES: Final = ("src", "href")
SCHEMES: Final = ("https://", "http://", "/", "data:image/jpeg;", "data:image/webp;")


class Html(str):
    """Text that is HTML already: only `tag` and `join` make it."""

    __slots__ = ()


def text(value: object) -> Html:
    """Anything as text; HTML made here stays as it is."""
    return value if isinstance(value, Html) else Html(_escape(str(value), quote=True))


def join(children: Iterable[Any]) -> Html:
    """Children in a row; None is left out, and lists are taken apart."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        nested = isinstance(child, Iterable) and not isinstance(child, str)
        parts.append(join(child) if nested else text(child))
    return Html("".join(parts))


def tag(name: str, /, *children: Any, **attributes: object) -> Html:
    """One element. `class_` is class, `stroke_width` is stroke-width; None leaves an attribute out.

    Raises ValueError for what may not stand in a safe page.
    """
    if name in NEVER:
        raise ValueError(f"<{name}> may not stand in a safe page")
    said = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{join(children)}</{name}>")


def _attribute(name: str, value: object) -> str:
    if name.startswith("on"):
        raise ValueError(f"{name}: a safe page has no listeners")
    if name in ADDRESSES and not str(value).startswith(SCHEMES):
        raise ValueError(f"{name}: {str(value)[:40]!r} is no address for a safe page")
    return f' {name}="{text(value)}"'


def style(css: str) -> Html:
    """A style sheet of ours. (Never of data: CSS has no escape that holds everywhere.)"""
    return Html(f"<style>{css}</style>")


def clip(said: str, most: int) -> str:
    """At most so many characters."""
    return said if len(said) <= most else f"{said[: most - 1]}…"
