"""Millstream: pipelines of plain typed functions, served so that every client gets every partial
result the moment it exists, and never loses one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from millstream.annotations import Each, Stream
from millstream.blobs import Upload
from millstream.context import Cancelled, Context
from millstream.core.outcome import Document
from millstream.errors import (
    Conflict,
    InputError,
    MillstreamError,
    NotFound,
    PipelineError,
    PolicyError,
    RequestError,
    SettingsError,
    StepError,
    StepTimeout,
    TooLarge,
    Unavailable,
)
from millstream.events import Event
from millstream.pipeline import Pipeline
from millstream.policy import Buffer, Processes, Retry
from millstream.system import System
from millstream.version import __version__
from millstream.wire.dialect import Dialect, Message

if TYPE_CHECKING:
    from millstream.server.app import Millstream
    from millstream.server.service import Options, Service
    from millstream.server.uploads import Limits
    from millstream.settings import Settings

__all__ = [
    "Buffer",
    "Cancelled",
    "Conflict",
    "Context",
    "Dialect",
    "Document",
    "Each",
    "Event",
    "InputError",
    "Limits",
    "Message",
    "Millstream",
    "MillstreamError",
    "NotFound",
    "Options",
    "Pipeline",
    "PipelineError",
    "PolicyError",
    "Processes",
    "RequestError",
    "Retry",
    "Service",
    "Settings",
    "SettingsError",
    "StepError",
    "StepTimeout",
    "Stream",
    "System",
    "TooLarge",
    "Unavailable",
    "Upload",
    "__version__",
]

_LATER = {
    "Limits": "millstream.server.uploads",
    "Millstream": "millstream.server.app",
    "Options": "millstream.server.service",
    "Service": "millstream.server.service",
    "Settings": "millstream.settings",
}
"""Loaded when asked for: a process that only runs steps needs no web server."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
