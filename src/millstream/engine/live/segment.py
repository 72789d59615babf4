"""Segment: fused steps at work. Blocks in, blocks for each outlet out; failures and counts exact.

Messages run through the generated function of `code`. One that fails there is gone on with step by
step, from the failing step on, with what was made of it before; the rest then through the
function again. Now and then a message goes step by step too, with a clock at hand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from millstream.annotations import NOTHING
from millstream.engine.live.code import Compiled, Operation, Program, Variable, compile_program
from millstream.engine.live.failures import check_out, plain
from millstream.engine.live.outlets import Outlet
from millstream.engine.live.statistics import Counts
from millstream.errors import StepError

TIMED_EVERY = 128
"""One of so many messages goes step by step, each step timed ..."""

TIMED_PAUSE = 0.02
"""... but not more often than every so many seconds."""

Fail = Callable[[Counts, int | None, StepError], None]
Block = tuple[Outlet, Sequence[int], list[Any]]
Values = dict[str, Any]
"""What was made of one message so far, by variable; what it lacks is not there."""


class Segment:
    """`outlets` are those of every step, by the variable whose values leave there."""

    def __init__(
        self,
        program: Program,
        outlets: Mapping[Variable, Outlet],
        counts: Mapping[str, Counts],
        *,
        ports: Mapping[tuple[str, str], Variable],
        fail: Fail,
        now: Callable[[], float],
        label: str,
    ) -> None:
        self.program, self.outlets, self.counts = program, outlets, counts
        self._ports = ports
        self.presents: dict[str, int] = {}
        """How often each variable was there: what went along the arrows inside."""
        self.fail, self._now, self._label = fail, now, label
        self._compiled: dict[tuple[Variable, ...], Compiled] = {}
        self._untimed, self._next_timed = TIMED_EVERY, 0.0

    def process(self, numbers: Sequence[int], values: Sequence[Any]) -> list[Block]:
        """One block through all steps; what leaves, for each outlet that is wanted now."""
        outputs = tuple(v for v, outlet in self.outlets.items() if outlet.wanted)
        compiled = self._compiled.get(outputs)
        if compiled is None:
            compiled = compile_program(self.program, outputs, self._label)
            self._compiled[outputs] = compiled
        return _Pass(self, compiled, numbers, values).work()

    def due(self, messages: int) -> bool:
        """Whether one of so many messages is to be timed."""
        self._untimed += messages
        if self._untimed < TIMED_EVERY or self._now() < self._next_timed:
            return False
        self._untimed, self._next_timed = 0, self._now() + TIMED_PAUSE
        return True

    def inside(self, step: str, port: str) -> int:
        """How many messages have gone along the arrows inside that leave this port."""
        return self.presents.get(self._ports[step, port].name, 0)

    def exchange(self, name: str, function: Callable[..., Any]) -> None:
        """Another function for one of its steps, from the next block on."""
        operations = tuple(
            replace(each, function=function) if each.step.name == name else each
            for each in self.program.operations
        )
        self.program = replace(self.program, operations=operations)
        self._compiled.clear()

    # --- step by step -----------------------------------------------------------------------

    def walk(self, number: int, values: Values, begin: int, *, timed: bool = False) -> None:
        """One message, from the operation `begin` on; `values` is what it has, and gets."""
        for operation in self.program.operations[begin:]:
            if all(name in values for name in _inputs(operation)):
                self.perform(operation, number, values, timed=timed)

    def perform(self, operation: Operation, number: int, values: Values, *, timed: bool) -> None:
        """One operation for one message; its failure is told, and ends there."""
        step = operation.step
        arguments = {p: values[v.name] for p, v in operation.arguments.items()}
        began = self._now() if timed else 0.0
        try:
            result = operation.function(**arguments, **operation.constants)
            if step.ports and result is not NOTHING:
                check_out(step, result)
        except BaseException as error:
            self.failed(operation, number, values, error)
            return
        if timed:
            self.counts[step.name].seconds.add(self._now() - began)
        self.made(operation, values, result)

    def made(self, operation: Operation, values: Values, result: Any) -> None:
        """Note what a step has given for one message."""
        counts = self.counts[operation.step.name]
        if result is NOTHING and operation.result.sieved:
            counts.filtered += 1
            return
        counts.made += 1
        _put(self, values, operation.result, result)
        for port, variable in operation.outs.items():
            if result is not None and result.port == port:
                _put(self, values, variable, result.value)

    def failed(
        self, operation: Operation, number: int, values: Values, error: BaseException
    ) -> None:
        """A step has failed at one message: told; the message goes on without it."""
        self.fail(self.counts[operation.step.name], number, plain(error))
        if operation.step.optional:
            _put(self, values, operation.result, None)


class _Pass:
    """One block on its way through a segment."""

    def __init__(
        self, segment: Segment, compiled: Compiled, numbers: Sequence[int], values: Sequence[Any]
    ) -> None:
        self.segment, self.compiled = segment, compiled
        self.numbers, self.values = numbers, values
        self.given: list[list[Any]] = [[] for _ in compiled.outputs]
        self.given_numbers: list[list[int]] = [[] for _ in compiled.outputs]
        self.lacking: list[set[int]] = [set() for _ in compiled.outputs]
        self.whole = len(values)
        """Messages that go through the function undisturbed."""
        self.held = [0] * len(compiled.guards)

    def work(self) -> list[Block]:
        rest = iter(self.values)
        begin = 0
        if self.segment.due(len(self.values)):
            begin = 1
            self.whole -= 1
            self._alone(self.numbers[0], self._entering(self.numbers[0], next(rest)), 0, timed=True)
        rows: Iterator[Any] = rest
        if self.compiled.numbered:
            rows = zip(self.numbers[begin:] if begin else self.numbers, rest, strict=False)
        appends = [given.append for given in self.given]
        appends += [
            numbers.append
            for numbers, output in zip(self.given_numbers, self.compiled.outputs, strict=True)
            if output.needs
        ]
        while True:
            try:
                self._count(self.compiled.run(rows, *appends))
                break
            except BaseException as error:
                left: int = rest.__length_hint__()  # type: ignore[attr-defined]
                self._resume(error, len(self.values) - left - 1)
        self._tally()
        return self._blocks()

    # --- a message that failed --------------------------------------------------------------

    def _resume(self, error: BaseException, at: int) -> None:
        """Go on with this message behind the step that failed."""
        frame = error.__traceback__ and error.__traceback__.tb_next
        index = self.compiled.lines.get(frame.tb_lineno) if frame is not None else None
        if frame is None or index is None:
            raise error
        self.whole -= 1
        known = frame.tb_frame.f_locals
        self._uncount(frame, known)
        segment, number = self.segment, self.numbers[at]
        values = self._entering(number, self.values[at])
        if index < 0:  # a source gave what belongs to none of its ports, which has been told
            self._alone(number, values, 0)
            return
        for operation in segment.program.operations[:index]:
            if all(name in values for name in _inputs(operation)):
                segment.made(operation, values, known[operation.result.name])
        segment.failed(segment.program.operations[index], number, values, error)
        self._alone(number, values, index + 1)

    def _entering(self, number: int, row: Any) -> Values:
        """What a message has when it comes in."""
        values: Values = {}
        program = self.segment.program
        if program.whole is not None:
            step, _ = program.whole
            try:
                check_out(step, row)
            except StepError as error:
                self.segment.fail(self.segment.counts[step.name], number, error)
                return values
            entry = program.entries[step.ports.index(row.port)]
            _put(self.segment, values, entry, row.value)
        else:
            parts = row if len(program.entries) > 1 else (row,)
            for entry, value in zip(program.entries, parts, strict=True):
                _put(self.segment, values, entry, value)
        return values

    def _alone(self, number: int, values: Values, begin: int, *, timed: bool = False) -> None:
        self.segment.walk(number, values, begin, timed=timed)
        for at, output in enumerate(self.compiled.outputs):
            if output.name in values:
                self.given[at].append(values[output.name])
                self.given_numbers[at].append(number)
            else:
                self.lacking[at].add(number)

    # --- counting ---------------------------------------------------------------------------

    def _count(self, held: Sequence[int]) -> None:
        self.held = [a + b for a, b in zip(self.held, held, strict=True)]

    def _uncount(self, frame: TracebackType, known: Mapping[str, Any]) -> None:
        """What the function had counted before it broke off, without the message it broke at."""
        for at, guard in enumerate(self.compiled.guards):
            reached = self.compiled.counted[guard] < frame.tb_lineno
            this_one = reached and all(known.get(name) is not NOTHING for name in guard)
            self.held[at] += known[f"k{at}"] - this_one

    def _tally(self) -> None:
        """Add up what went through the function."""
        segment, program = self.segment, self.segment.program
        held = dict(zip(self.compiled.guards, self.held, strict=True))

        def times(guard: frozenset[str]) -> int:
            return held[guard] if guard else self.whole

        for entry in program.entries:
            _note(segment, entry, times(entry.needs))
        for operation in program.operations:
            called, there = times(operation.guard), times(operation.result.needs)
            counts = segment.counts[operation.step.name]
            counts.made += there
            counts.filtered += called - there
            _note(segment, operation.result, there)
            for variable in operation.outs.values():
                _note(segment, variable, times(variable.needs))

    def _blocks(self) -> list[Block]:
        blocks: list[Block] = []
        for at, output in enumerate(self.compiled.outputs):
            numbers: Sequence[int] = self.numbers
            if output.needs:
                numbers = self.given_numbers[at]
            elif lacking := self.lacking[at]:
                numbers = [number for number in self.numbers if number not in lacking]
            blocks.append((self.segment.outlets[output], numbers, self.given[at]))
        return blocks


def _inputs(operation: Operation) -> list[str]:
    return [variable.name for variable in operation.arguments.values()]


def _note(segment: Segment, variable: Variable, count: int) -> None:
    segment.presents[variable.name] = segment.presents.get(variable.name, 0) + count


def _put(segment: Segment, values: Values, variable: Variable, value: Any) -> None:
    values[variable.name] = value
    _note(segment, variable, 1)
