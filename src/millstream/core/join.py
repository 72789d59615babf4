"""What is ready: one step's inputs, brought together item by item.

Messages of all arrows go in, in any order between arrows; decisions come out: call, skip, cancel,
feed a stream, pass on. Knows nothing of tasks, channels or the log.

Never refuses a message, so a join cannot deadlock: whatever one arrow is ahead of another is
bounded by the channels of the arrow that lags, since both begin at the same item. What waits for
an outer value (or to be collected) is bounded by nothing but the map itself.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from millstream.core.graph import Graph, Path, Reading, Step
from millstream.core.messages import End, Failed, Item, Message, Void

MISSING: Final = object()


class Ready(Struct, gc=False):
    """Call the step for this item. A Stream parameter is not among the arguments."""

    path: Path
    arguments: dict[str, Any]
    fresh: bool = False


class Skip(Struct, gc=False):
    """An input of this item failed: it will have no value."""

    path: Path
    fresh: bool = False


class CutOff(Struct, gc=False):
    """The Stream of this call has failed: so has the item, unless the call had read enough."""

    path: Path
    fresh: bool = False


class Cancel(Struct, gc=False):
    """An input of this item is superseded: stop its call, forget its outcome."""

    path: Path


class Feed(Struct, gc=False):
    """A value for the Stream of this call: the next one, or another in the place of `number`."""

    path: Path
    number: int
    value: Any
    fresh: bool = False


class Drop(Struct, gc=False):
    """The value `number` that the Stream of this call was given is superseded; None: all are, and
    the call is cancelled already: its Stream begins anew, if at all."""

    path: Path
    number: int | None


class Finish(Struct, gc=False):
    """The Stream of this call is complete."""

    path: Path


class Forward(Struct, gc=False):
    """Pass this on to every reader."""

    message: Message


Decision = Ready | Skip | CutOff | Cancel | Feed | Drop | Finish | Forward


class _Collection:
    """The values of a map so far, for one `list[...]` parameter of one call."""

    __slots__ = ("count", "fresh", "resolved", "values")

    def __init__(self) -> None:
        self.values: dict[Path, Any] = {}
        self.resolved: set[Path] = set()
        self.count: int | None = None
        self.fresh = False

    def add(self, item: Item | Failed) -> None:
        self.resolved.add(item.path)
        self.fresh = self.fresh or item.fresh
        if isinstance(item, Item):
            self.values[item.path] = item.value

    def drop(self, path: Path) -> None:
        self.resolved.discard(path)
        self.values.pop(path, None)

    @property
    def complete(self) -> bool:
        return self.count is not None and len(self.resolved) >= self.count

    def in_order(self) -> list[Any]:
        return [self.values[path] for path in sorted(self.values)]


class Join:
    """The state of one step's inputs. `retain` keeps what each call was made of, where inputs may
    come again with another value.

    Relies on the order in which each arrow delivers: a map's End, and an outer item's failure,
    come after all items below it. Keeps the same promise to its readers.
    """

    def __init__(self, graph: Graph, step: Step) -> None:
        inlet = graph.inlets[step.name]
        self.depth, self.depths = inlet.depth, inlet.depths
        self.readings, self.inner, self.outer = inlet.readings, inlet.inner, inlet.outer
        self.retain = step.name in graph.unsettled
        self.single = len(self.depths) == 1
        self.entries: dict[Path, dict[str, Item | Failed]] = {}
        self.waiting: set[Path] = set()
        self.broadcast: dict[str, dict[Path, Item | Failed]] = {p: {} for p in self.outer}
        self.collections: dict[tuple[str, Path], _Collection] = {}
        self.heard: dict[Path, dict[str, End | Failed]] = {}
        self.closing: dict[Path, None] = {}
        self.streaming: set[Path] = set()
        self.skipped: set[Path] = set()  # of those that stream

    def feed(self, parameter: str, message: Message) -> list[Decision]:
        """One message of one arrow: what follows from it, in order."""
        if len(message.path) < self.depths[parameter]:
            return self._outer(parameter, message)
        match self.readings[parameter]:
            case Reading.ALL:
                return self._collect(parameter, message)
            case Reading.STREAM:
                return self._stream(parameter, message)
            case _:
                return self._value(parameter, message)

    def _outer(self, parameter: str, message: Message) -> list[Decision]:
        if isinstance(message, Item):
            raise AssertionError(f"{parameter!r} got a value of an outer item: {message}")
        if isinstance(message, Void):
            return self._void(parameter, message)
        return self._pass_on(parameter, message)

    # --- one value per item -------------------------------------------------------------------

    def _value(self, parameter: str, message: Message) -> list[Decision]:
        if type(message) is Item:
            if self.single and not self.retain:
                return [Ready(message.path, {parameter: message.value}, message.fresh)]
            return self._store(parameter, message)
        if isinstance(message, Void):
            return self._void(parameter, message)
        return self._store(parameter, message) if isinstance(message, Failed) else []

    def _store(self, parameter: str, message: Item | Failed) -> list[Decision]:
        path = message.path
        if self.depths[parameter] == self.depth:
            self.entries.setdefault(path, {})[parameter] = message
            self.waiting.add(path)
            return self._check(path) + self._release()
        self.broadcast[parameter][path] = message
        below = sorted(p for p in self.waiting if p[: len(path)] == path)
        return [decision for p in below for decision in self._check(p)] + self._release()

    def _check(self, path: Path) -> list[Decision]:
        """Call or skip the item if all its inputs are there."""
        entry = self.entries[path]
        if len(entry) < len(self.inner):
            return []
        inputs = dict(entry)
        for parameter in self.outer:
            found = self.broadcast[parameter].get(path[: self.depths[parameter]])
            if found is None:
                return []
            inputs[parameter] = found
        self.waiting.discard(path)
        if not self.retain:
            del self.entries[path]
        decision = self._decide(path, inputs)
        if path in self.streaming and isinstance(decision, Skip):
            self.skipped.add(path)
        return [decision]

    def _decide(self, path: Path, inputs: Mapping[str, Item | Failed]) -> Decision:
        arguments: dict[str, Any] = {}
        fresh = False
        for parameter, found in inputs.items():
            if isinstance(found, Failed):
                return Skip(path, found.fresh)
            fresh = fresh or found.fresh
            if self.readings[parameter] is not Reading.STREAM:
                arguments[parameter] = found.value
        return Ready(path, arguments, fresh)

    def _void(self, parameter: str, message: Void) -> list[Decision]:
        """What was called below this path is stale: it waits for this input again."""
        path, depth = message.path, self.depths[parameter]
        self._unhear(parameter, path)
        if depth < self.depth:
            for outer in [p for p in self.broadcast[parameter] if p[: len(path)] == path]:
                del self.broadcast[parameter][outer]
        decisions: list[Decision] = []
        for below in self._entries_below(path):
            if below not in self.waiting:
                self.waiting.add(below)
                self.skipped.discard(below)
                decisions.append(Cancel(below))
            if depth == self.depth:
                self._take_out(below, parameter)
        if len(path) < depth == self.depth:  # a map that begins anew, not just an outer value
            decisions.append(Forward(message))
        return decisions

    def _unhear(self, parameter: str, path: Path) -> None:
        """What this arrow said of ends below this path no longer holds: it says so again."""
        for below, heard in self.heard.items():
            if below[: len(path)] == path and heard.pop(parameter, None) is not None:
                self.closing.pop(below, None)

    def _entries_below(self, path: Path) -> list[Path]:
        if len(path) == self.depth:
            return [path] if path in self.entries else []
        return [p for p in self.entries if p[: len(path)] == path]

    def _take_out(self, path: Path, parameter: str) -> None:
        entry = self.entries[path]
        entry.pop(parameter, None)
        if not entry:  # nothing came in its place yet, and perhaps nothing will
            del self.entries[path]
            self.waiting.discard(path)

    # --- all values of a map ------------------------------------------------------------------

    def _collect(self, parameter: str, message: Message) -> list[Decision]:
        prefix = message.path[: self.depths[parameter]]
        if isinstance(message, Failed) and message.path == prefix:
            self.collections.pop((parameter, prefix), None)
            return self._store(parameter, message)
        collection = self.collections.setdefault((parameter, prefix), _Collection())
        if isinstance(message, Void):
            return self._reopen(parameter, collection, message, prefix)
        if isinstance(message, End):
            collection.count = message.count
        else:
            collection.add(message)
        if not collection.complete:
            return []
        value = Item(prefix, collection.in_order(), collection.fresh)
        if not self.retain:
            del self.collections[parameter, prefix]
        return self._store(parameter, value)

    def _reopen(
        self, parameter: str, collection: _Collection, message: Void, prefix: Path
    ) -> list[Decision]:
        if message.path == prefix:
            del self.collections[parameter, prefix]
        else:
            collection.drop(message.path)
        return self._void(parameter, Void(prefix))

    # --- values while they are made -----------------------------------------------------------

    def _stream(self, parameter: str, message: Message) -> list[Decision]:
        depth = self.depths[parameter]
        prefix = message.path[:depth]
        if isinstance(message, Void):
            return self._supersede(parameter, message, prefix)
        if isinstance(message, Failed) and message.path == prefix:
            return self._stream_failed(parameter, message)
        decisions: list[Decision] = []
        if prefix not in self.streaming:
            self.streaming.add(prefix)
            decisions += self._store(parameter, Item(prefix, None))
        if isinstance(message, Item):
            decisions.append(Feed(prefix, message.path[-1], message.value, message.fresh))
        elif isinstance(message, End):
            self._stop_streaming(prefix)
            decisions.append(Finish(prefix))
        elif isinstance(message, Failed) and message.fresh:
            decisions.append(Drop(prefix, message.path[-1]))  # there may have been a value once
        return decisions

    def _supersede(self, parameter: str, message: Void, prefix: Path) -> list[Decision]:
        if message.path != prefix:
            return [Drop(prefix, message.path[-1])] if prefix in self.streaming else []
        self._stop_streaming(prefix)
        return [*self._void(parameter, message), Drop(prefix, None)]

    def _stream_failed(self, parameter: str, message: Failed) -> list[Decision]:
        """No more values. A call that was begun cannot go on; one that was not is skipped."""
        path = message.path
        decided = path in self.streaming and path not in self.waiting
        begun = decided and path not in self.skipped
        self._stop_streaming(path)
        if begun:
            return [CutOff(path, message.fresh)]
        return [*([] if decided else self._store(parameter, message)), Finish(path)]

    def _stop_streaming(self, path: Path) -> None:
        self.streaming.discard(path)
        self.skipped.discard(path)

    # --- ends ---------------------------------------------------------------------------------

    def _pass_on(self, parameter: str, message: End | Failed) -> list[Decision]:
        """An outer map's end, or an outer item's failure: on to the readers, when every arrow
        that brings it has brought it and all that came before it is under way."""
        path = message.path
        heard = self.heard.setdefault(path, {})
        heard[parameter] = message
        if len(heard) < sum(depth > len(path) for depth in self.depths.values()):
            return []
        self.closing[path] = None
        return self._release()

    def _release(self) -> list[Decision]:
        """Pass on what no longer has to wait for anything that came before it."""
        ready = [path for path in self.closing if self._closes(path)] if self.closing else []
        return [self._close(path) for path in ready]

    def _closes(self, path: Path) -> bool:
        level = len(path)
        outer = (p for p in self.outer if self.depths[p] == level)
        if not all(path in self.broadcast[parameter] for parameter in outer):
            return False
        return not any(p[:level] == path for p in self.waiting)

    def _close(self, path: Path) -> Decision:
        """Nothing below this path comes again, unless it is superseded: drop what was kept."""
        del self.closing[path]
        heard = self.heard[path].values()
        if not self.retain:
            del self.heard[path]
            for values in self.broadcast.values():
                for below in [p for p in values if p[: len(path)] == path]:
                    del values[below]
        failed = next((message for message in heard if isinstance(message, Failed)), None)
        return Forward(failed or next(iter(heard)))

    def __repr__(self) -> str:
        return f"<Join of {len(self.depths)} inputs, {len(self.entries)} items waiting>"
