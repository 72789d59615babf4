"""Events and values as text for people, safe for a terminal. In the command line's room; pure."""

import json
from typing import Any

from millstream import events
from millstream.events import Event, encode

WIDTH = 100
"""Of a value in short form, in characters, where no terminal says otherwise."""


def envelope(event: Event) -> str:
    """The event as it came over the wire."""
    return encode(event).decode()


# --- short forms ---------------------------------------------------------------------------------


def name(event: Event) -> str:
    """`step`, or `step[item]`."""
    item = "" if event.item is None else f"[{event.item}]"
    return clean(f"{event.step}{item}")


def started(event: Event) -> str | None:
    """What a live display shows by moving, in words."""
    again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    match event.type:
        case events.RUN_QUEUED:
            return f"run {event.run}"
        case events.STEP_STARTED:
            return f"{name(event)} …{again}"
        case events.STEP_PROGRESS:
            return f"{name(event)} {progress(event.value)}"
    return None


def story(event: Event, width: int = WIDTH) -> str | None:
    """What is worth a line that stays: partials, results, failures, an app's own events, gaps."""
    match event.type:
        case events.STEP_PARTIAL:
            return f"{name(event)} + {short(event.value, width)}"
        case events.STEP_RESULT:
            return f"{name(event)} = {_result(event, width)}"
        case events.STEP_FAILED:
            return f"{name(event)} ! {failure(event.value)}"
        case events.LOG_GAP:
            data = event.value or {}
            return f"(events {data.get('from')} to {data.get('to')} are no longer kept)"
        case events.LOG_MERGED | events.RUN_QUEUED | events.RUN_STARTED:
            return None
        case events.STEP_STARTED | events.STEP_PROGRESS:
            return None
        case kind if kind in events.TERMINAL:
            return None
    where = f"{name(event)} " if event.step else ""
    return f"{where}{clean(event.type)} {short(event.value, width)}"


def _result(event: Event, width: int) -> str:
    told = short(event.value, width) if event.count is None else f"{event.count} values"
    if event.data is events.UNSET and event.count is None:
        told = "done"
    return f"{told} (fallback)" if event.fallback else told


def progress(data: Any) -> str:
    """`40% reading`."""
    data = data if isinstance(data, dict) else {}
    fraction = data.get("fraction")
    percent = f"{fraction:.0%} " if isinstance(fraction, int | float) else ""
    return f"{percent}{clean(str(data.get('message') or ''))}".strip()


def failure(data: Any) -> str:
    """`code: message`, and what happens next."""
    data = data if isinstance(data, dict) else {}
    then = ""
    if data.get("will_retry"):
        then = "; it is tried again"
    elif data.get("fallback"):
        then = "; its fallback runs"
    return clean(f"{data.get('code')}: {data.get('message')}{then}")


def short(value: Any, width: int = WIDTH) -> str:
    """A value as JSON on one line, cut to `width` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = clean(" ".join(text[: 4 * width].split()))
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


def clean(text: str) -> str:
    """Without control characters: nobody's data shall move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def pretty(value: Any) -> str:
    """A result in full: JSON, indented; safe for a terminal and the same value for a program."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "\n".join(map(_escaped, text.split("\n")))


def _escaped(line: str) -> str:
    """Of JSON. What cannot be printed can only stand in a string, where an escape is the same."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
