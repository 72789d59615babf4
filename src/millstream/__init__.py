"""Millstream: pipelines of plain typed functions, served so that every client gets every partial
result the moment it exists, and never loses one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from millstream.annotations import NOTHING, Batch, Each, From, In, Nothing, Out, Stream
from millstream.blobs import Upload
from millstream.context import Cancelled, Context
from millstream.core.outcome import Document
from millstream.dynamic import DynamicPipeline
from millstream.errors import (
    Conflict,
    InputError,
    MillstreamError,
    NotFound,
    PipelineError,
    PolicyError,
    RateLimited,
    RequestError,
    SettingsError,
    StepError,
    StepTimeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from millstream.events import Event
from millstream.flows.build import pipeline_of
from millstream.flows.document import Flow, FlowEdge, FlowError, FlowNode
from millstream.flows.document import read as read_flow
from millstream.flows.document import write as write_flow
from millstream.flows.types import NodeType, NodeTypes, Port, Site
from millstream.flows.write import flow_of, types_of
from millstream.pipeline import Pipeline
from millstream.policy import Breaker, Buffer, Cache, Processes, Rate, Retain, Retry
from millstream.store import Run
from millstream.system import System
from millstream.version import __version__
from millstream.wire.dialect import Dialect, Message

if TYPE_CHECKING:
    from millstream.core.adaptive import Adapted, adapt
    from millstream.core.breaker import Circuit
    from millstream.core.latency import Latencies, Percentiles
    from millstream.core.retry import pause
    from millstream.engine.live.control import LiveRun
    from millstream.engine.live.pipe import Pipe
    from millstream.engine.live.statistics import EdgeStatistics, LiveStatistics, StepStatistics
    from millstream.engine.live.taps import Tap
    from millstream.observe.debugger.alerts import Alert, AlertRules, Threshold
    from millstream.observe.debugger.debugger import Debugger
    from millstream.observe.debugger.recording import DebugEvent, DebugExport, read_export
    from millstream.observe.debugger.reports import DebugReport
    from millstream.observe.debugger.snapshots import Machine, Snapshot
    from millstream.observe.machine import MachineMeter
    from millstream.outgoing import (
        Outgoing,
        OutgoingError,
        OutgoingLimits,
        OutgoingRefused,
        OutgoingResponse,
        OutgoingStream,
        OutgoingTimeout,
        OutgoingTooLarge,
    )
    from millstream.server.app import Millstream
    from millstream.server.auth import Authenticator, Credentials, Principal
    from millstream.server.keys import ApiKeys
    from millstream.server.limiting import Places, RateGate, limit_headers
    from millstream.server.problems import ProblemRoute
    from millstream.server.service import Options, Service, options_of
    from millstream.server.uploads import Limits
    from millstream.settings import Settings

__all__ = [
    "NOTHING",
    "Adapted",
    "Alert",
    "AlertRules",
    "ApiKeys",
    "Authenticator",
    "Batch",
    "Breaker",
    "Buffer",
    "Cache",
    "Cancelled",
    "Circuit",
    "Conflict",
    "Context",
    "Credentials",
    "DebugEvent",
    "DebugExport",
    "DebugReport",
    "Debugger",
    "Dialect",
    "Document",
    "DynamicPipeline",
    "Each",
    "EdgeStatistics",
    "Event",
    "Flow",
    "FlowEdge",
    "FlowError",
    "FlowNode",
    "From",
    "In",
    "InputError",
    "Latencies",
    "Limits",
    "LiveRun",
    "LiveStatistics",
    "Machine",
    "MachineMeter",
    "Message",
    "Millstream",
    "MillstreamError",
    "NodeType",
    "NodeTypes",
    "NotFound",
    "Nothing",
    "Options",
    "Out",
    "Outgoing",
    "OutgoingError",
    "OutgoingLimits",
    "OutgoingRefused",
    "OutgoingResponse",
    "OutgoingStream",
    "OutgoingTimeout",
    "OutgoingTooLarge",
    "Percentiles",
    "Pipe",
    "Pipeline",
    "PipelineError",
    "Places",
    "PolicyError",
    "Port",
    "Principal",
    "ProblemRoute",
    "Processes",
    "Rate",
    "RateGate",
    "RateLimited",
    "RequestError",
    "Retain",
    "Retry",
    "Run",
    "Service",
    "Settings",
    "SettingsError",
    "Site",
    "Snapshot",
    "StepError",
    "StepStatistics",
    "StepTimeout",
    "Stream",
    "System",
    "Tap",
    "Threshold",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Upload",
    "__version__",
    "adapt",
    "flow_of",
    "limit_headers",
    "options_of",
    "pause",
    "pipeline_of",
    "read_export",
    "read_flow",
    "types_of",
    "write_flow",
]

_LATER = {
    "Adapted": "millstream.core.adaptive",
    "Alert": "millstream.observe.debugger.alerts",
    "AlertRules": "millstream.observe.debugger.alerts",
    "ApiKeys": "millstream.server.keys",
    "Authenticator": "millstream.server.auth",
    "Circuit": "millstream.core.breaker",
    "Credentials": "millstream.server.auth",
    "DebugEvent": "millstream.observe.debugger.recording",
    "DebugExport": "millstream.observe.debugger.recording",
    "DebugReport": "millstream.observe.debugger.reports",
    "Debugger": "millstream.observe.debugger.debugger",
    "EdgeStatistics": "millstream.engine.live.statistics",
    "Latencies": "millstream.core.latency",
    "Limits": "millstream.server.uploads",
    "LiveRun": "millstream.engine.live.control",
    "LiveStatistics": "millstream.engine.live.statistics",
    "Machine": "millstream.observe.debugger.snapshots",
    "MachineMeter": "millstream.observe.machine",
    "Millstream": "millstream.server.app",
    "Options": "millstream.server.service",
    "Outgoing": "millstream.outgoing",
    "OutgoingError": "millstream.outgoing",
    "OutgoingLimits": "millstream.outgoing",
    "OutgoingRefused": "millstream.outgoing",
    "OutgoingResponse": "millstream.outgoing",
    "OutgoingStream": "millstream.outgoing",
    "OutgoingTimeout": "millstream.outgoing",
    "OutgoingTooLarge": "millstream.outgoing",
    "Percentiles": "millstream.core.latency",
    "Pipe": "millstream.engine.live.pipe",
    "Places": "millstream.server.limiting",
    "Principal": "millstream.server.auth",
    "ProblemRoute": "millstream.server.problems",
    "RateGate": "millstream.server.limiting",
    "Service": "millstream.server.service",
    "Settings": "millstream.settings",
    "Snapshot": "millstream.observe.debugger.snapshots",
    "StepStatistics": "millstream.engine.live.statistics",
    "Tap": "millstream.engine.live.taps",
    "Threshold": "millstream.observe.debugger.alerts",
    "adapt": "millstream.core.adaptive",
    "limit_headers": "millstream.server.limiting",
    "options_of": "millstream.server.service",
    "pause": "millstream.core.retry",
    "read_export": "millstream.observe.debugger.recording",
}
"""Loaded when asked for: a process that only runs steps needs no web server."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
