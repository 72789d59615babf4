"""How flows are told to clients: in lists, whole, and with what is counted of them.

Pure functions of runs, documents and statistics. Connection ids are `src:port->dst:port`, by the
ports' own names.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from millstream import Flow, LiveStatistics, Run, write_flow


def summary(run: Run, flow: Flow) -> dict[str, Any]:
    """A flow in a list."""
    return {
        "id": flow.id,
        "name": flow.name,
        "run": run.id,
        "state": run.state,
        "created": _moment(run.created),
        "started": _moment(run.started),
        "ended": _moment(run.ended),
        "seq": run.seq,
        "nodes": len(flow.nodes),
        "edges": len(flow.edges),
    }


def whole(run: Run, flow: Flow, statistics: LiveStatistics | None) -> dict[str, Any]:
    """A flow with its document, and what is counted of it where it is at work here."""
    return {
        **summary(run, flow),
        "flow": write_flow(flow),
        "events": f"runs/{run.id}/events",
        "statistics": None if statistics is None else counted(statistics),
    }


def counted(statistics: LiveStatistics) -> dict[str, Any]:
    """Statistics as JSON; `connections` in the names that clients of streams know too."""
    told = msgspec.to_builtins(statistics)
    connections = {
        id: {
            "messagesPerSecond": edge["rate"],
            "averageLatency": edge["latency"]["mean"] * 1000,
            "bufferUtilization": edge["fill"],
            "backpressureEvents": edge["stops"],
            "totalMessages": edge["sent"],
            "droppedMessages": edge["dropped"],
        }
        for id, edge in told["edges"].items()
    }
    return {**told, "connections": connections}


def _moment(timestamp: float | None) -> str | None:
    if timestamp is None:
        return None
    said = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
    return said.replace("+00:00", "Z")
