"""`millstream graph`: what a pipeline looks like, as text or as a Mermaid flowchart.

In the command line's room; reads built graphs (`core.graph`) and runs nothing.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from millstream.core.graph import Graph


class Format(StrEnum):
    """How to draw."""

    TEXT = "text"
    MERMAID = "mermaid"


def graph(
    target: Annotated[str, typer.Argument(metavar="MODULE:APP[:PIPELINE]")],
    format: Annotated[Format, typer.Option(help="text or mermaid.")] = Format.TEXT,
) -> None:
    """Draw the pipelines of an application: what each step reads, gives, and is allowed.

    Examples:

        millstream graph examples.hello:app

        millstream graph examples.hello:app:hello --format mermaid
    """
    from millstream.cli.drawing import mermaid, text

    draw = text if format is Format.TEXT else mermaid
    print("\n\n".join(draw(each) for each in graphs_of(target)))


def graphs_of(target: str) -> "list[Graph]":
    """The graphs that `module:name` holds, or the one that a third part names."""
    from millstream.cli.loading import load
    from millstream.errors import SettingsError, did_you_mean

    module, _, rest = target.partition(":")
    name, _, wanted = rest.partition(":")
    graphs = _graphs(load(f"{module}:{name}"), target)
    if not wanted:
        return list(graphs.values())
    if wanted not in graphs:
        near = did_you_mean(wanted, graphs) or f"; there are: {', '.join(graphs)}"
        raise SettingsError(f"{module}:{name} has no pipeline {wanted!r}{near}")
    return [graphs[wanted]]


def _graphs(found: Any, target: str) -> "dict[str, Graph]":
    from millstream import Millstream, Pipeline, System
    from millstream.errors import SettingsError

    if isinstance(found, Millstream):
        return dict(found.graphs)
    if isinstance(found, System):
        return {each.name: each.build() for each in found.pipelines}
    if isinstance(found, Pipeline):
        return {found.name: found.build()}
    raise SettingsError(
        f"{target!r} is a {type(found).__name__}; name a Millstream, a Pipeline or a System"
    )
