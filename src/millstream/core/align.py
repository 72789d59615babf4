"""Matching messages of several arrows by their numbers. The watermark keeps joins from waiting.

A writer says up to which number it has passed: what it has not sent up to there (filtered, failed,
dropped), it never will. So a message whose partner can never come is let go at once, and counted.
Pure: blocks go in, rows come out.
"""

from collections.abc import Sequence
from typing import Any

Block = tuple[Sequence[int], Sequence[Any]]
"""Numbers, rising, and the values that bear them."""


class _Line:
    """One arrow: a block, how much of it is done with, and how far its writer has passed."""

    __slots__ = ("at", "numbers", "passed", "values")

    def __init__(self) -> None:
        self.numbers: Sequence[int] = ()
        self.values: Sequence[Any] = ()
        self.at = 0
        self.passed = 0

    @property
    def empty(self) -> bool:
        return self.at >= len(self.numbers)

    @property
    def horizon(self) -> int:
        """No message below this number will come, or come again."""
        return self.passed + 1 if self.empty else self.numbers[self.at]

    def take(self) -> Any:
        value = self.values[self.at]
        self.leave()
        return value

    def leave(self) -> None:
        """Its next message is done with."""
        self.passed = max(self.passed, self.numbers[self.at])
        self.at += 1


class Aligner:
    """Rows of the messages that have the same number on all of `width` arrows.

    Give a line its next block only when it is `empty`: so it holds one block of each at most.
    """

    def __init__(self, width: int) -> None:
        self._lines = [_Line() for _ in range(width)]
        self.unmatched = 0
        """Messages let go since a partner of theirs can never come."""

    def empty(self, line: int) -> bool:
        """Whether that arrow's last block is used up."""
        return self._lines[line].empty

    def feed(self, line: int, block: Block) -> None:
        """The next block of an arrow."""
        self._lines[line].numbers, self._lines[line].values = block
        self._lines[line].at = 0

    def passed(self, line: int, number: int) -> None:
        """Its writer has passed this number; all it sent up to there was fed before."""
        self._lines[line].passed = max(self._lines[line].passed, number)

    @property
    def watermark(self) -> int:
        """Up to which number no further row will come."""
        return min(line.horizon for line in self._lines) - 1

    @property
    def holding(self) -> int:
        """Messages that wait here for their partners."""
        return sum(len(line.numbers) - line.at for line in self._lines)

    def rows(self) -> tuple[list[int], list[tuple[Any, ...]]]:
        """The numbers and rows that are complete by now."""
        whole = self._whole()
        if whole is not None:
            return whole
        numbers: list[int] = []
        rows: list[tuple[Any, ...]] = []
        lines = self._lines
        while True:
            horizon = max(line.horizon for line in lines)
            for line in lines:
                self._let_go(line, horizon)
            if any(line.empty for line in lines):
                if all(line.horizon <= horizon for line in lines):
                    return numbers, rows
            elif all(line.horizon == horizon for line in lines):
                numbers.append(horizon)
                rows.append(tuple(line.take() for line in lines))

    def _whole(self) -> tuple[list[int], list[tuple[Any, ...]]] | None:
        """The common case, at once: every arrow brought the same numbers."""
        first, *others = self._lines
        if first.at or first.empty:
            return None
        if any(line.at or line.numbers != first.numbers for line in others):
            return None
        numbers = list(first.numbers)
        rows = list(zip(*(line.values for line in self._lines), strict=True))
        for line in self._lines:
            line.at = len(line.numbers)
            line.passed = max(line.passed, numbers[-1])
        return numbers, rows

    def _let_go(self, line: _Line, below: int) -> None:
        while not line.empty and line.numbers[line.at] < below:
            line.leave()
            self.unmatched += 1
