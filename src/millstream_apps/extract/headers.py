"""The headers of this system's streams: what clients are told, and what they may ask for.

The buffers that some clients ask about do not exist here: a slow client costs a cursor, and loses
nothing. They are answered with the size of one write, and with what was asked for, within bounds.
"""

import re
from datetime import UTC, datetime

from fastapi import Request

from millstream_apps.extract.errors import CORS
from millstream_apps.extract.settings import ExtractSettings

WRITE_BYTES = 65_536
"""How much is taken from a log for one write."""

SMALLEST_BUFFER = 64
SLOW_MS = 100

ALLOWED = ", ".join(
    (
        "Accept",
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "Last-Event-ID",
        "X-API-Key",
        "X-Buffer-Size",
        "X-Buffer-Timeout",
        "X-Enable-Backpressure",
        "X-Request-ID",
        "X-Session-ID",
        "X-Slow-Client-Threshold",
    )
)
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": ALLOWED,
    "Access-Control-Max-Age": "86400",
}

_PLAIN = re.compile(r"^[A-Za-z0-9._:@/+-]{1,128}$")


def stream_headers(
    request: Request, run: str, created: float, settings: ExtractSettings
) -> list[tuple[bytes, bytes]]:
    """The headers of a stream over a run that was created then (seconds since the epoch)."""
    capacity = _number(request, "x-buffer-size", settings.stream_buffer_size)
    capacity = min(max(capacity, SMALLEST_BUFFER), settings.stream_buffer_max_size)
    began = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    named = {
        **CORS,
        "X-Request-ID": run,
        "X-Stream-Start-Time": began.replace("+00:00", "Z"),
        "X-Stream-Buffer-Limit": str(WRITE_BYTES),
        "X-Buffer-Capacity": str(capacity),
        "X-Buffer-Current": "0",
        "X-Backpressure-Threshold": str(_number(request, "x-slow-client-threshold", SLOW_MS)),
    }
    session = request.headers.get("x-session-id", "")
    if _PLAIN.match(session):
        named["X-Session-ID"] = session
    return [(name.lower().encode(), value.encode()) for name, value in named.items()]


def _number(request: Request, name: str, default: int) -> int:
    said = request.headers.get(name, "")
    return int(said) if said.isdecimal() and len(said) < 10 else default
