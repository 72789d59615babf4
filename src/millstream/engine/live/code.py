"""Fused steps as one generated function: a loop over messages with one line per step.

The line number of a traceback names the step that failed. Tests for NOTHING stand only where a
step may return it; a step behind such a test is not called for a message that goes no further.
Generates and compiles; calls no step.
"""

import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from millstream.annotations import NOTHING
from millstream.core.graph import Step
from millstream.engine.live.failures import check_out

Guard = frozenset[str]
"""Variables that must not be NOTHING."""

_serial = count(1)


@dataclass(frozen=True)
class Variable:
    """One value of a message on its way. `sieved`: it may be NOTHING; `guard`: it is set only
    where none of these is."""

    name: str
    sieved: bool = False
    guard: Guard = frozenset()

    @property
    def needs(self) -> Guard:
        """What must not be NOTHING for it to be there."""
        return frozenset({self.name}) if self.sieved else self.guard


@dataclass(frozen=True)
class Operation:
    """One step's call: from which variables, into which; `outs` are its ports' variables."""

    step: Step
    function: Callable[..., Any]
    arguments: Mapping[str, Variable]
    constants: Mapping[str, Any]
    result: Variable
    outs: Mapping[str, Variable]

    @property
    def guard(self) -> Guard:
        """What must not be NOTHING for it to be called."""
        return self.result.guard


@dataclass(frozen=True)
class Program:
    """The operations of a segment in order, and the variables of what comes in. `whole` is the
    incoming value of a source with ports, of which `entries` are then the ports."""

    entries: tuple[Variable, ...]
    operations: tuple[Operation, ...]
    whole: tuple[Step, Variable] | None = None


@dataclass
class Compiled:
    """`run(rows, *appends)` works off all rows: for each output an append for its values and, where
    it may lack messages (`numbered`), one for their numbers. Returns how often each guard held.

    `lines` says which operation stands in which line, `counted` in which line a guard is counted.
    """

    run: Callable[..., tuple[int, ...]]
    outputs: tuple[Variable, ...]
    guards: tuple[Guard, ...]
    lines: dict[int, int] = field(default_factory=dict)
    counted: dict[Guard, int] = field(default_factory=dict)

    @property
    def numbered(self) -> bool:
        """Whether the rows come with their numbers: (number, row)."""
        return any(output.needs for output in self.outputs)


class Names:
    """Identifiers after steps' names, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = {"rows", "n", "N", "segment"}

    def new(self, name: str) -> str:
        """An identifier like this name."""
        plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        base = plain if plain.isidentifier() and plain.isascii() else f"v_{plain}"
        found, at = f"{base}_", 2
        while found in self._taken:
            found, at = f"{base}_{at}_", at + 1
        self._taken.add(found)
        return found


def compile_program(program: Program, outputs: Sequence[Variable], label: str) -> Compiled:
    """The function for these operations that hands out these outputs."""
    return _Writer(program, tuple(outputs), label).compile()


class _Writer:
    def __init__(self, program: Program, outputs: tuple[Variable, ...], label: str) -> None:
        self.program, self.outputs, self.label = program, outputs, label
        self.globals: dict[str, Any] = {}
        self.lines: list[str] = []
        self.compiled = Compiled(run=_never, outputs=outputs, guards=())
        self.guards: dict[Guard, str] = {}
        self.body: list[tuple[Guard, str, int | None]] = []

    def compile(self) -> Compiled:
        """Write it, compile it, make it known to tracebacks."""
        self._write_body()
        self._write()
        text = "\n".join(self.lines) + "\n"
        file = f"<segment {next(_serial)}: {self.label}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        scope: dict[str, Any] = dict(self.globals)
        exec(compile(text, file, "exec"), scope)  # of names made here, and of functions by object
        self.compiled.run = scope["segment"]
        self.compiled.guards = tuple(self.guards)
        return self.compiled

    # --- the lines of one message -----------------------------------------------------------

    def _write_body(self) -> None:
        if self.program.whole is not None:
            step, whole = self.program.whole
            self._split(step, whole, dict(zip(step.ports, self.program.entries, strict=True)), -1)
        for index, operation in enumerate(self.program.operations):
            result = operation.result
            self._guarded(operation.guard)
            self.body.append((operation.guard, f"{result.name} = {self._call(operation)}", index))
            if operation.step.ports:
                self._split(operation.step, result, operation.outs, index)
            elif result.sieved:
                self._guarded(result.needs)
        for at, output in enumerate(self.outputs):
            self._guarded(output.needs)
            number = f"; n{at}(n)" if output.needs else ""
            self.body.append((output.needs, f"o{at}({output.name}){number}", None))

    def _guarded(self, guard: Guard) -> None:
        """What stands behind this guard is counted, once."""
        if guard and guard not in self.guards:
            self.guards[guard] = f"k{len(self.guards)}"
            self.body.append((guard, f"{self.guards[guard]} += 1", None))

    def _split(
        self, step: Step, value: Variable, outs: Mapping[str, Variable], index: int | None
    ) -> None:
        """A value with a port, into the variable of that port."""
        needs = value.needs
        self._guarded(needs)
        check = self._global("check", partial(check_out, step))
        self.body.append((needs, f"{check}({value.name})", index))
        for port, variable in outs.items():
            text = f"{variable.name} = {value.name}.value if {value.name}.port == {port!r} else N"
            self.body.append((needs, text, None))
        for variable in outs.values():
            self._guarded(variable.needs)

    def _call(self, operation: Operation) -> str:
        """The call as text: by position where the signature allows, which is faster."""
        function = self._global(operation.step.name, operation.function)
        given = {p: v.name for p, v in operation.arguments.items()}
        given |= {p: self._global(p, value) for p, value in operation.constants.items()}
        texts: list[str] = []
        for parameter in inspect.signature(operation.function).parameters.values():
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.name not in given:
                break
            texts.append(given.pop(parameter.name))
        texts += [f"{name}={text}" for name, text in given.items()]
        return f"{function}({', '.join(texts)})"

    def _global(self, name: str, value: Any) -> str:
        """A name for an object; the same object has the same name."""
        for known, held in self.globals.items():
            if held is value:
                return known
        plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        found = f"f{len(self.globals)}_{plain}"
        self.globals[found] = value
        return found

    # --- the function -----------------------------------------------------------------------

    def _write(self) -> None:
        appends = [f"o{at}" for at in range(len(self.outputs))]
        appends += [f"n{at}" for at, output in enumerate(self.outputs) if output.needs]
        bound = [f"{name}={name}" for name in self.globals]
        self.globals["NOTHING"] = NOTHING
        parameters = ", ".join(["rows", *appends, "*", "N=NOTHING", *bound])
        self.lines.append(f"def segment({parameters}):")
        if self.guards:
            self.lines.append(f"    {' = '.join(self.guards.values())} = 0")
        self.lines.append(f"    for {self._target()} in rows:")
        unset = [v.name for v in self._variables() if v.sieved and v.guard]
        if unset:
            self.lines.append(f"        {' = '.join(unset)} = N")
        self._write_guarded()
        if not self.body:
            self.lines.append("        pass")
        counts = "".join(f"{name}, " for name in self.guards.values())
        self.lines.append(f"    return ({counts})")

    def _variables(self) -> list[Variable]:
        found = []
        for operation in self.program.operations:
            found += [operation.result, *operation.outs.values()]
        return list(dict.fromkeys(found))

    def _target(self) -> str:
        if self.program.whole is not None:
            row = self.program.whole[1].name
        else:
            row = ", ".join(entry.name for entry in self.program.entries)
        if not self.compiled.numbered:
            return row
        return f"n, {row}" if len(row.split(", ")) == 1 else f"n, ({row})"

    def _write_guarded(self) -> None:
        """The body, with an `if` around each stretch of lines behind the same guard."""
        current: Guard = frozenset()
        for guard, text, index in self.body:
            if guard and guard != current:
                tests = " and ".join(f"{name} is not N" for name in sorted(guard))
                self.lines.append(f"        if {tests}:")
            current = guard
            self.lines.append(f"{'            ' if guard else '        '}{text}")
            if index is not None:
                self.compiled.lines[len(self.lines)] = index
            if guard and text.endswith("+= 1"):
                self.compiled.counted[guard] = len(self.lines)


def _never(*_: Any) -> tuple[int, ...]:
    raise AssertionError("not compiled yet")
