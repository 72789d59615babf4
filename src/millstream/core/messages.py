"""What travels along an arrow. A value is opaque here: live, still encoded, or not needed."""

from typing import Any

from msgspec import Struct

from millstream.core.graph import Path


class Item(Struct, gc=False):
    """The value of one item. `fresh` says that results computed from an earlier value of it, in
    the log from before a crash, no longer count."""

    path: Path
    value: Any
    fresh: bool = False


class Failed(Struct, gc=False):
    """This item will have no value; with a shorter path: nor will any item below it. `fresh` as
    for an Item."""

    path: Path
    fresh: bool = False


class Void(Struct, gc=False):
    """What came for this item (or below it) is superseded; its replacement, if any, follows.

    `seen` is whoever sent it, waiting until every reader has acted on it; opaque here.
    """

    path: Path
    seen: Any = None


class End(Struct, gc=False):
    """The map below `path` is complete: it has `count` elements."""

    path: Path
    count: int


Message = Item | Failed | Void | End
