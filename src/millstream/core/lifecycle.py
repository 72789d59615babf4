"""What a run may do next: one table. Everything that asks "is this legal now?" asks it here."""

from collections.abc import Mapping
from typing import Final

from millstream.events import (
    RUN_CANCELLED,
    RUN_COMPLETED,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_STARTED,
)

TRANSITIONS: Final[Mapping[tuple[str | None, str], str]] = {
    (None, RUN_QUEUED): "queued",
    ("queued", RUN_STARTED): "running",
    ("queued", RUN_CANCELLED): "cancelled",
    ("queued", RUN_FAILED): "failed",  # its deadline passed before anybody began it
    ("running", RUN_COMPLETED): "completed",
    ("running", RUN_FAILED): "failed",
    ("running", RUN_CANCELLED): "cancelled",
}
"""(state, event) -> state. A log begins in no state (None). What is not here is illegal."""

STATES: Final = tuple(dict.fromkeys(TRANSITIONS.values()))
ENDED: Final = frozenset(s for s in STATES if all(s != before for before, _ in TRANSITIONS))


class IllegalTransition(Exception):
    """An event that the table does not allow: a defect of ours, never a user's mistake."""


def after(state: str | None, event: str) -> str | None:
    """The state after an event. Events of steps and apps change nothing, and are legal only
    while the run is running."""
    if (state, event) in TRANSITIONS:
        return TRANSITIONS[state, event]
    if state == "running" and not event.startswith("run."):
        return state
    raise IllegalTransition(f"{event!r} may not follow in state {state!r}")


def mermaid() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2"]
    for (before, event), state in TRANSITIONS.items():
        lines.append(f"    {before or '[*]'} --> {state}: {event}")
    lines += [f"    {state} --> [*]" for state in STATES if state in ENDED]
    return "\n".join(lines)
