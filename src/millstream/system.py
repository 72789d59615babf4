"""System: pipelines together with the routes and names of clients that exist already."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.pipeline import Pipeline

if TYPE_CHECKING:
    from fastapi import APIRouter

    from millstream.server.app import Millstream


@dataclass(frozen=True)
class System:
    """What `Millstream(...)` serves beside plain pipelines.

    `routes` makes the system's own routes for the application that serves it. `health` and `root`
    are its fields of `GET /health` and `GET /`, which several systems may share. `settings` are
    the defaults that it brings for the server's settings where it is served alone. `assets` are
    files for the built-in page, by name.
    """

    name: str
    pipelines: tuple[Pipeline, ...]
    routes: "Callable[[Millstream], APIRouter] | None" = None
    health: "Callable[[Millstream], Mapping[str, Any]] | None" = None
    root: "Callable[[Millstream], Mapping[str, Any]] | None" = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    assets: Mapping[str, Path] = field(default_factory=dict)
