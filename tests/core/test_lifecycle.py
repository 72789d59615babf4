"""The table of what a run may do next, and the diagram made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.lifecycle import ENDED, STATES, TRANSITIONS, IllegalTransition, after, mermaid
from millstream.events import TERMINAL
from millstream.store import ENDED as STORE_ENDED

RUN_EVENTS = sorted({event for _, event in TRANSITIONS})
OTHERS = ["step.started", "step.result", "log.gap", "price.quoted"]


@given(st.lists(st.sampled_from([*RUN_EVENTS, *OTHERS])))
def test_a_log_that_is_legal_has_one_beginning_and_one_end(types):
    state = None
    taken = []
    for type in types:
        try:
            state = after(state, type)
        except IllegalTransition:
            continue
        taken.append(type)
    assert [t for t in taken if t == "run.queued"] in ([], ["run.queued"])
    assert sum(t in TERMINAL for t in taken) <= 1
    assert (taken[-1:] and taken[-1] in TERMINAL) == (state in ENDED if taken else [])
    if any(t in OTHERS for t in taken):
        assert "run.started" in taken[: taken.index(next(t for t in taken if t in OTHERS))]


def test_the_states_are_the_stores():
    assert ENDED == STORE_ENDED
    assert set(STATES) == STORE_ENDED | {"queued", "running"}


@pytest.mark.parametrize("state", sorted(ENDED))
@pytest.mark.parametrize("event", [*RUN_EVENTS, *OTHERS])
def test_nothing_follows_an_end(state, event):
    with pytest.raises(IllegalTransition, match=f"may not follow in state '{state}'"):
        after(state, event)


@pytest.mark.parametrize("event", OTHERS)
def test_steps_tell_only_of_a_running_run(event):
    assert after("running", event) == "running"
    for state in (None, "queued"):
        with pytest.raises(IllegalTransition):
            after(state, event)


def test_the_diagram_says_what_the_table_says():
    assert mermaid() == (
        "stateDiagram-v2\n"
        "    [*] --> queued: run.queued\n"
        "    queued --> running: run.started\n"
        "    queued --> cancelled: run.cancelled\n"
        "    queued --> failed: run.failed\n"
        "    running --> completed: run.completed\n"
        "    running --> failed: run.failed\n"
        "    running --> cancelled: run.cancelled\n"
        "    cancelled --> [*]\n"
        "    failed --> [*]\n"
        "    completed --> [*]"
    )
    drawn = [line.strip() for line in mermaid().splitlines() if ": " in line]
    assert len(drawn) == len(TRANSITIONS)
