"""DynamicPipeline: a pipeline whose graph is built anew from each run's input.

For what is not known when a process starts: flows that a visual editor sends, a user's own recipe.
A run's input is all that is needed to build its graph again, so such runs are recovered like any.
Declares; runs nothing.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_type_hints

from millstream.core.graph import Graph
from millstream.errors import PipelineError
from millstream.pipeline import Pipeline


class DynamicPipeline(Pipeline):
    """A pipeline that is a function from an input to another pipeline.

    >>> def recipe(recipe: Recipe) -> Pipeline: ...
    >>> cook = DynamicPipeline("cook", recipe)

    `build`'s one parameter is the input; its annotation says what a request holds. It is called
    when a run is asked for, so that an input it cannot build from is refused at once (let it raise
    InputError, naming the field), and whenever a worker takes the run up. It must give the same
    graph for the same input, and fresh functions where they keep a state.
    """

    def __init__(self, name: str, build: Callable[[Any], Pipeline], *, doc: str = "") -> None:
        super().__init__(name, doc=doc or inspect.cleandoc(build.__doc__ or ""))
        self._make = build

    def build(self) -> Graph:
        """A graph without steps that knows how to build each run's own. Raises PipelineError."""
        if self._graph is None:
            name, annotation = self._input()
            self._graph = Graph(
                name=self.name,
                steps={},
                scopes={name: ()},
                input=name,
                input_type=annotation,
                doc=self.doc,
                resolve=self._resolve,
            )
        return self._graph

    def _input(self) -> tuple[str, Any]:
        parameters = list(inspect.signature(self._make).parameters)
        if len(parameters) != 1:
            raise PipelineError(
                f"pipeline {self.name!r}: its graph is built by a function of one parameter, the "
                f"input, not of ({', '.join(parameters)})"
            )
        hints: Mapping[str, Any] = get_type_hints(self._make, include_extras=True)
        return parameters[0], hints.get(parameters[0], Any)

    def _resolve(self, value: Any) -> Graph:
        return replace(self._make(value).build(), name=self.name)

    def _declare(self, *_: Any, **__: Any) -> None:
        raise PipelineError(
            f"pipeline {self.name!r} gets its steps from each run's input; "
            "declare them in the pipeline that its function gives"
        )
