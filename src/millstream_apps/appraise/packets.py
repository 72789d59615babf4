"""The packets that phones get, as a dialect of a run's log; and the one document for desktops.

Pure functions of the events. Each packet is one line of JSON under 8 KB: HTML that is larger is
named by its address. Each carries a `cursor`, behind which the stream can be taken up again.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from millstream import Event, Message
from millstream_apps.appraise import fragments
from millstream_apps.appraise.engine import BAD_PHOTO

LIMIT: Final = 8000
"""Bytes of one line, its end included: the contract's 8 KB with room for what proxies add."""

CONNECTED, STARTED = "CONNECTION_ESTABLISHED", "PROCESSING_STARTED"
COMPLETE, ERROR = "ANALYSIS_COMPLETE", "ERROR"


class Part(Struct, frozen=True):
    """One part on the wire. `html` are its fields of HTML, `fields` those that are sent besides."""

    packet: str
    title: str
    fields: tuple[str, ...]
    html: tuple[str, ...]


PARTS: Final[Mapping[str, Part]] = {
    "authenticity": Part(
        "AUTHENTICATION_RESULT",
        "Authenticity",
        ("authentic", "authenticityRating", "confidence", "verdict", "method", "note", "reason"),
        (),
    ),
    "characters": Part(
        "CHARACTER_IDENTIFICATION", "Characters", ("characters",), ("identification",)
    ),
    "pricing": Part("PRICING_ANALYSIS", "Pricing", (), ("pricing",)),
    "details": Part("DETAILED_ANALYSIS", "Details", (), ("analysis",)),
    "display": Part(
        "HTML_DISPLAY_DATA", "The display page", (), ("frontHtml", "backHtml", "angledHtml")
    ),
}
OPTIONAL: Final = frozenset({"note", "reason"})
"""Fields that are left out where they say nothing."""

HEADLINES: Final = {
    "authenticity": "Authenticity analysis failed",
    "deadline_exceeded": "Analysis timed out",
}


class PacketDialect:
    """A run in packets. `session` is the client's; `base` where this server is reached, for the
    addresses of pages."""

    def __init__(self, session: str | None, base: str) -> None:
        self._session, self._base = session, base.rstrip("/")
        self._began: float | None = None
        self._id: int | None = None
        self._failed: dict[str, Mapping[str, Any]] = {}
        self._told: set[str] = set()
        self._verdict: str | None = None

    def __call__(self, event: Event) -> Iterator[Message]:
        """See `millstream.Dialect`."""
        if self._began is None:
            self._began = event.timestamp
        for kind, fields in self._say(event):
            yield Message(None, fit(self._packet(kind, event, fields), self._address(event)))

    def _say(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        match event.type:
            case "run.queued":
                message = "Connected, starting analysis..."
                resume = f"{self._base}/mobile-upload/{event.run}"
                yield CONNECTED, {"message": message, "runId": event.run, "resume": resume}
            case "run.started":
                yield STARTED, {"message": "Image analysis in progress..."}
            case "step.result":
                yield from self._result(event)
            case "step.failed":
                yield from self._failure(event)
            case "run.completed":
                yield COMPLETE, self._completion(event)
            case "run.failed" | "run.cancelled":
                yield ERROR, self._error(event)

    def _packet(self, kind: str, event: Event, fields: dict[str, Any]) -> dict[str, Any]:
        head = {"packetType": kind, "sessionId": self._session, "timestamp": event.time}
        return {**head, **fields, "cursor": event.seq}

    def _address(self, event: Event) -> str:
        return f"{self._base}/api/analyses/{event.run}"

    # --- parts --------------------------------------------------------------------------------

    def _result(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        if event.step == "record":
            self._id = event.value["id"]
        part = PARTS.get(event.step or "")
        if part is None or event.step in self._told:
            return
        self._told.add(event.step or "")
        if event.step == "display":
            yield part.packet, self._pages(event)
            return
        if event.step == "authenticity":
            self._verdict = event.value["verdict"]
        told = {name: event.value[name] for name in (*part.fields, *part.html)}
        told = {k: v for k, v in told.items() if v is not None or k not in OPTIONAL}
        yield part.packet, told | ({"fallback": True} if event.fallback else {})

    def _pages(self, event: Event) -> dict[str, Any]:
        """Display pages hold pictures, so they are always named by their addresses."""
        told: dict[str, Any] = {}
        for view, size in event.value["pages"].items():
            url = f"{self._address(event)}/{view}"
            told[f"{view}Html"] = fragments.elsewhere(url, f"{view.capitalize()} of the pin")
            told[f"{view}HtmlUrl"], told[f"{view}HtmlBytes"] = url, size
        return {"frontHtml": "", "backHtml": "", "angledHtml": "", **told}

    def _failure(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        """A part that will have no answer is told in its place, and never by a made-up one."""
        told = event.value
        if told.get("will_retry") or told.get("fallback") or event.step is None:
            return
        part = PARTS.get(event.step)
        if part is None or event.step in self._told:
            return
        self._failed[event.step] = told
        if event.step == "authenticity":  # the run fails with it: ERROR says so
            return
        self._told.add(event.step)
        said = fragments.failure(part.title, told["message"])
        empty: dict[str, Any] = dict.fromkeys((*part.fields, *part.html), "")
        failed = {"failed": True, "code": told["code"], "message": told["message"]}
        yield part.packet, {**empty, part.html[0]: said, **failed}

    # --- ends ---------------------------------------------------------------------------------

    def _milliseconds(self, event: Event) -> int:
        return round((event.timestamp - (self._began or event.timestamp)) * 1000)

    def _completion(self, event: Event) -> dict[str, Any]:
        told: dict[str, Any] = {
            "success": True,
            "id": self._id,
            "message": self._message(),
            "processingTime": self._milliseconds(event),
            "complete": True,
        }
        if self._failed:
            told["failedParts"] = sorted(PARTS[step].packet for step in self._failed)
        return told

    def _message(self) -> str:
        if self._failed:
            titles = ", ".join(PARTS[step].title.lower() for step in sorted(self._failed))
            return f"Pin analysis completed, without: {titles}"
        if self._verdict == "undetermined":
            return "Pin analysis completed without a verdict"
        return "Pin analysis completed successfully"

    def _error(self, event: Event) -> dict[str, Any]:
        told = event.value or {}
        said = told.get("message") or told.get("reason") or "the analysis was stopped"
        headline = HEADLINES.get(told.get("step", "")) or HEADLINES.get(told.get("code", ""))
        if headline is None:
            cancelled = event.type == "run.cancelled"
            headline = "Analysis cancelled" if cancelled else "Analysis failed"
        answered = {step for step in self._told if step not in self._failed}
        return {
            "success": False,
            "message": headline,
            "error": said,
            "code": told.get("code", "cancelled"),
            "failedParts": sorted(p.packet for step, p in PARTS.items() if step not in answered),
            "processingTime": self._milliseconds(event),
        }


def fit(packet: dict[str, Any], address: str, limit: int = LIMIT) -> dict[str, Any]:
    """The packet under the limit: as long as it is over, its largest HTML gives way to a reference
    to `{address}/{field}`, and then its longest text is cut."""
    packet = dict(packet)
    html = [name for part in PARTS.values() for name in part.html if name in packet]
    html = [name for name in html if f"{name}Url" not in packet]
    while _size(packet) > limit and html:
        largest = max(html, key=lambda name: len(packet[name]))
        html.remove(largest)
        packet[f"{largest}Url"] = f"{address}/{largest}"
        packet[largest] = fragments.elsewhere(packet[f"{largest}Url"], largest)
    while (over := _size(packet) - limit) > 0:
        texts = [name for name, said in packet.items() if isinstance(said, str) and len(said) > 1]
        if not texts:
            break
        longest = max(texts, key=lambda name: len(packet[name]))
        packet[longest] = f"{packet[longest][: max(0, len(packet[longest]) - over - 3)]}…"
    return packet


def _size(packet: Mapping[str, Any]) -> int:
    return len(msgspec.json.encode(packet)) + 1


# --- one document --------------------------------------------------------------------------------


class Outcome(Struct, frozen=True):
    """All packets as one document: what a client gets who waits. `status` is HTTP's."""

    status: int
    body: dict[str, Any]


ENVELOPE: Final = frozenset({"packetType", "cursor", "runId", "resume", "failed", "code"})


def outcome(packets: Iterable[Mapping[str, Any]], run: str) -> Outcome:
    """The packets of an ended run, united. A failed part's HTML says so; `failedParts` names it."""
    body: dict[str, Any] = {"success": False}
    for packet in packets:
        kind = packet["packetType"]
        if kind == ERROR:
            said = {"success": False, "error": packet["error"], "message": packet["message"]}
            return Outcome(_status(packet["code"]), said)
        left = {"message"} if kind != COMPLETE else set()
        body |= {k: v for k, v in packet.items() if k not in ENVELOPE | left}
    return Outcome(200, {**body, "requestId": run})


def _status(code: str) -> int:
    if code == BAD_PHOTO:
        return 400
    late = code in ("deadline_exceeded", "step_timeout", "cancelled", "executor_closed")
    return 503 if late else 500
