"""Drafts of a graph: the input and the arrows of each step, by the names of its parameters.

How a parameter reads what its arrow brings is left open: a durable run and a live one read
differently.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

from millstream import values
from millstream.annotations import From, is_batch, sources_of
from millstream.building.functions import Kind
from millstream.building.places import at
from millstream.context import Context
from millstream.core.graph import Arrow, Reading, Step, order
from millstream.errors import PipelineError, did_you_mean
from millstream.policy import Buffer


@dataclass(frozen=True, slots=True)
class Declared:
    """A step as declared: `step` with its policies and no arrows, its function's annotations, the
    sources and buffers that were given for single parameters, and whether `publish=` was said.
    """

    step: Step
    hints: Mapping[str, Any]
    given: Mapping[str, tuple[From, ...]]
    buffers: Mapping[str, Buffer]
    says_publish: bool


@dataclass(frozen=True, slots=True)
class Drafts:
    """Steps with their arrows, each behind those it reads, and the input's name if there is one."""

    steps: list[Step]
    input: str | None


def drafts(name: str, declared: Mapping[str, Declared], *, live: bool) -> Drafts:
    """Of the pipeline of this name. Raises PipelineError."""
    if not declared:
        raise PipelineError(f"pipeline {name!r} has no steps; declare one with @.step")
    return _Drafting(name, declared, live).drafts()


class _Drafting:
    def __init__(self, name: str, declared: Mapping[str, Declared], live: bool) -> None:
        self.name, self.declared, self.live = name, declared, live
        self._where = partial(at, name)

    def drafts(self) -> Drafts:
        parameters = {name: self._parameters(each.step) for name, each in self.declared.items()}
        input = self._find_input(parameters)
        found = {name: self._draft(name, parameters[name]) for name in self.declared}
        return Drafts(order(self.name, found), input)

    # --- names ------------------------------------------------------------------------------

    def _parameters(self, step: Step) -> dict[str, Any]:
        """Each parameter with its annotation (Any where there is none)."""
        hints = self.declared[step.name].hints
        found: dict[str, Any] = {}
        for parameter in inspect.signature(step.function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise PipelineError(
                    f"{self._where(step.name)}: takes *{parameter.name}; a step names every "
                    "parameter, since a parameter's name is an arrow"
                )
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise PipelineError(
                    f"{self._where(step.name, parameter.name)} is positional-only; "
                    "a step is called by parameter names: drop the `/`"
                )
            hint = hints.get(parameter.name, Any)
            named = self._named(step.name, parameter.name, hint)
            if parameter.default is not parameter.empty and not (
                named or self._is_arrow(parameter.name)
            ):
                continue  # an ordinary default: nobody feeds it
            found[parameter.name] = hint
        return found

    def _named(self, step: str, parameter: str, annotation: Any) -> tuple[From, ...]:
        """The steps that a parameter reads where its name does not say. Raises PipelineError."""
        named = self.declared[step].given.get(parameter) or sources_of(annotation)
        where = self._where(step, parameter)
        if not self.live and (named or is_batch(annotation)):
            said = "From" if named else "Batch"
            raise PipelineError(f"{where}: {said} is for live pipelines: Pipeline(..., live=True)")
        for each in named:
            if each.source not in self.declared:
                near = did_you_mean(each.source, self.declared)
                raise PipelineError(f"{where} reads {each.source!r}, which is no step{near}")
        return named

    def _is_arrow(self, parameter: str) -> bool:
        return parameter in self.declared

    def _find_input(self, parameters: Mapping[str, Mapping[str, Any]]) -> str | None:
        users: dict[str, str] = {}
        for step, names in parameters.items():
            for name, annotation in names.items():
                named = self._is_arrow(name) or self._named(step, name, annotation)
                if not named and not _is_context(annotation):
                    users.setdefault(name, step)
        if len(users) > 1:
            self._refuse_inputs(users)
        return next(iter(users), None)

    def _refuse_inputs(self, users: Mapping[str, str]) -> None:
        said = ", ".join(f"{name!r} (of step {step!r})" for name, step in users.items())
        hints = [did_you_mean(name, self.declared) for name in users]
        raise PipelineError(
            f"pipeline {self.name!r}: the parameters {said} are named after no step, and only "
            f"one name can be the pipeline's input{next(filter(None, hints), '.')} "
            "Use one name for the input (a model can hold several fields), or name a step."
        )

    def _draft(self, name: str, parameters: Mapping[str, Any]) -> Step:
        """The step with its arrows, readings not yet decided."""
        step = self.declared[name].step
        contexts = [p for p, annotation in parameters.items() if _is_context(annotation)]
        if len(contexts) > 1:
            raise PipelineError(f"{self._where(name, contexts[1])}: one Context is enough")
        arrows = tuple(
            arrow
            for parameter, annotation in parameters.items()
            if parameter not in contexts
            for arrow in self._arrows(name, parameter, annotation)
        )
        if not arrows and not step.yields:
            raise PipelineError(
                f"{self._where(name)} has no inputs and does not yield, so nothing would start "
                "it: name the input or a step as a parameter, or yield to make it a source"
            )
        itself = next((arrow.parameter for arrow in arrows if arrow.source == name), None)
        if itself is not None:
            raise PipelineError(f"{self._where(name, itself)} reads the step itself")
        returns = self._returns(step)
        self._check_fallback(step)
        return replace(
            step, arrows=arrows, context=contexts[0] if contexts else None, returns=returns
        )

    def _arrows(self, name: str, parameter: str, annotation: Any) -> list[Arrow]:
        """The arrows into one parameter (several where it says so), readings not yet decided."""
        buffer = self.declared[name].buffers.get(parameter)
        named = self._named(name, parameter, annotation) or (From(parameter),)
        return [
            Arrow(
                source=each.source,
                target=name,
                parameter=parameter,
                reading=Reading.VALUE,
                annotation=annotation,
                port=each.port,
                tag=each.tag,
                buffer=each.buffer or buffer,
            )
            for each in named
        ]

    def _returns(self, step: Step) -> Any:
        """The type of the step's value; of one yielded value for a step that yields."""
        hint = self.declared[step.name].hints.get("return", Any)
        if step.yields and hint is not Any:
            arguments = get_args(hint)
            hint = arguments[0] if arguments else Any
        if not step.internal and not self.live:
            self._check_decodable(step, hint)
        return hint

    def _check_decodable(self, step: Step, hint: Any) -> None:
        try:
            values.decoder(hint)
        except TypeError as error:
            raise PipelineError(
                f"{self._where(step.name)}: what it returns is published and must be readable "
                f"after a restart, but {error}; return a model, a dataclass or plain JSON "
                "types, or declare internal=True"
            ) from error

    def _check_fallback(self, step: Step) -> None:
        if step.fallback is None:
            return
        mine = set(inspect.signature(step.function).parameters)
        theirs = inspect.signature(step.fallback).parameters
        extra = [name for name, p in theirs.items() if name not in mine and p.default is p.empty]
        if extra or set(mine) - set(theirs):
            raise PipelineError(
                f"{self._where(step.name)}: the fallback {step.fallback.__name__!r} must take the "
                f"same parameters as the step ({', '.join(sorted(mine))}), "
                f"not ({', '.join(sorted(theirs))})"
            )
        if Kind.of(step.fallback).yields and not step.yields:
            raise PipelineError(
                f"{self._where(step.name)}: the fallback {step.fallback.__name__!r} yields, but "
                "the step returns one value; let the fallback return one too"
            )


def _is_context(annotation: Any) -> bool:
    return any(
        isinstance(member, type) and issubclass(member, Context)
        for member in values.union_members(annotation)
    )
