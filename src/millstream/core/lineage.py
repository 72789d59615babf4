"""Which item is which, and what was made of it: read off a log, event by event.

Pure bookkeeping of numbers, shared by the folds `recovery` and `outcome`; holds no values.
"""

from millstream.core.graph import Graph, Scope

Key = tuple[str, int | None]
"""A step and the item it worked on (None outside of a map)."""


class Numbering:
    """Which item each element of a mapped step is. Outermost, it is the element's index; in an
    inner map, items are numbered in the order in which their elements entered the log.

    With `keeps` False an element is asked for once, and what is known of it then forgotten.
    """

    def __init__(self, *, outermost: bool, keeps: bool = True) -> None:
        self._numbers: dict[tuple[int | None, int], int] | None = None if outermost else {}
        self.keeps = keeps
        self.next = 0

    def number(self, parent: int | None, index: int) -> int:
        """The item of this element; the same one each time it is asked for."""
        if self._numbers is None:
            return index
        key = (parent, index)
        found = self._numbers.get(key) if self.keeps else self._numbers.pop(key, None)
        if found is None:
            found = self.next
            self.next += 1
            if self.keeps:
                self._numbers[key] = found
        return found


class Lineage:
    """Where each item comes from: the element `index` of the item `parent`, one level out."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.numbering = {name: Numbering(outermost=not graph.scopes[name]) for name in graph.maps}
        self._places: dict[str, dict[int, tuple[int | None, int]]] = {n: {} for n in graph.maps}

    def note(self, step: str, item: int | None, index: int) -> None:
        """The log has the element `index` of this step's value for this item."""
        if step in self.numbering:
            self._places[step][self.numbering[step].number(item, index)] = (item, index)

    def place(self, step: str, number: int) -> tuple[int | None, int]:
        """The item and the index that the element `number` of this step is."""
        return self._places[step].get(number, (None, number))

    def made_of(self, step: str, item: int | None, key: Key) -> bool:
        """Whether that outcome was made of this step's value for this item."""
        return self._below(key, step, self.graph.scopes[step], item)

    def made_of_element(self, step: str, item: int | None, index: int, key: Key) -> bool:
        """Whether that outcome was made of one element of it."""
        if step not in self.numbering:
            return self.made_of(step, item, key)
        scope = (*self.graph.scopes[step], step)
        return self._below(key, step, scope, self.numbering[step].number(item, index))

    def _below(self, key: Key, step: str, scope: Scope, item: int | None) -> bool:
        """Whether it depends on the step, and lies below that item of that scope or comes of a
        step that collects it."""
        own = self.graph.scopes[key[0]]
        if key[0] not in self.graph.descendants[step]:
            return False
        if own[: len(scope)] != scope:
            return True  # it has left that map: through a collector
        number = key[1]
        for name in reversed(own[len(scope) :]):
            number = self.place(name, number)[0] if number is not None else None
        return number == item
