"""What can go wrong for a client: the server refused, never came back, or broke the log.

In the client's room; imports `errors` and `events` alone, and knows no HTTP library.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from millstream.errors import MillstreamError
from millstream.events import Position

RETRIED = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that say "later" by themselves (RFC 9110, section 15; RFC 6585; RFC 8470)."""

NEVER = frozenset({501, 505})
"""Server errors that no repetition mends."""


class ServerError(MillstreamError):
    """The server's answer was a problem (RFC 9457). Switch on `code`; `detail` is for people.

    `errors` has one entry a fault of the input: `{"field": "files[2]", "message": "…"}`. `code` is
    `http_<status>` where the answer came from something else, a proxy perhaps.
    """

    code = "server_error"
    # Its status is what this answer said, not the class's as with our other errors.
    status: int  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int,
        retryable: bool | None = None,
        errors: Sequence[dict[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.code = detail, code
        self.status = status  # pyright: ignore[reportIncompatibleVariableOverride]
        self.errors, self.retry_after = list(errors), retry_after
        self.retryable = status in RETRIED if retryable is None else retryable
        self._said_no = retryable is False

    def details(self) -> dict[str, Any]:
        """The faults, field by field."""
        return {"errors": self.errors} if self.errors else {}

    def worth_trying_again(self, *, resuming: bool) -> bool:
        """Whether the same request may succeed later. `resuming`: the run is known to exist, so
        that a server's own fault is worth more patience than a plain refusal to start."""
        if self.status in RETRIED:
            return True
        if self.status < 500 or self.status in NEVER:
            return False
        return resuming or not self._said_no


class ConnectionLost(MillstreamError):
    """The server did not come back in time. The run goes on without us.

    Come back with `client.follow(error.run, after=error.cursor)`; `run` is None where no answer
    told which run it is.
    """

    code = "connection_lost"
    status = 503
    retryable = True

    def __init__(self, reason: str, *, run: str | None = None, cursor: Position = 0) -> None:
        where = f"run {run}, after position {cursor}: " if run else ""
        super().__init__(f"{where}{reason}")
        self.reason, self.run, self.cursor = reason, run, cursor

    def details(self) -> dict[str, Any]:
        """Where to come back to."""
        return {"run": self.run, "cursor": self.cursor}


class LogBroken(MillstreamError):
    """What came is no continuation of the log: a position was left out, came again, or followed
    the end. Nothing behind `cursor` was handed out."""

    code = "log_broken"
    status = 502

    def __init__(self, what: str, *, run: str | None, cursor: Position) -> None:
        super().__init__(f"run {run or '?'}, after position {cursor}: {what}")
        self.run, self.cursor = run, cursor


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ServerError:
    """The error that an answer stands for. A body that is no problem document is not repeated."""
    said = _problem(body)
    detail = said.get("detail") or said.get("title") or _phrase(status)
    errors = said.get("errors")
    retryable = said.get("retryable")
    return ServerError(
        str(detail),
        code=str(said.get("code") or f"http_{status}"),
        status=status,
        retryable=retryable if isinstance(retryable, bool) else None,
        errors=[e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else (),
        retry_after=_seconds(headers.get("retry-after")),
    )


def _problem(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}


def _phrase(status: int) -> str:
    try:
        return f"the server answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"the server answered {status}"


def _seconds(said: str | None) -> float | None:
    """`Retry-After` in seconds; its other form, a date, is left aside (our servers never send
    one, and it would need both clocks to agree)."""
    return float(said) if said and said.isascii() and said.isdigit() else None
