"""System: pipelines together with the routes and names of clients that exist already."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.pipeline import Pipeline

if TYPE_CHECKING:
    from fastapi import APIRouter

    from millstream.server.app import Millstream
    from millstream.server.auth import Authenticator


@dataclass(frozen=True)
class System:
    """What `Millstream(...)` serves beside plain pipelines.

    `routes` makes the system's own routes for the application that serves it. `health` and `root`
    are its fields of `GET /health` and `GET /`, which several systems may share. `settings` are
    the defaults that it brings for the server's settings where it is served alone. `assets` are
    files for the built-in page, by name. `close` is awaited when the application closes, after its
    runs: for what the system's steps hold open. `authenticates` says that its routes ask who calls
    themselves, with `Millstream.authenticate`, to answer in a shape of their own; without it the
    server asks for a key before each of them, where it has any. `authenticator` knows the keys of
    the system's own configuration; they then count for the whole server, so that no run of the
    system is open on the server's other routes.
    """

    name: str
    pipelines: tuple[Pipeline, ...]
    routes: "Callable[[Millstream], APIRouter] | None" = None
    health: "Callable[[Millstream], Mapping[str, Any]] | None" = None
    root: "Callable[[Millstream], Mapping[str, Any]] | None" = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    assets: Mapping[str, Path] = field(default_factory=dict)
    close: Callable[[], Awaitable[object]] | None = None
    authenticates: bool = False
    authenticator: "Authenticator | None" = None
