"""Retention, decided: what is asked for is kept, little more is, and letting go is rare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.retention import PART, Marks
from millstream.errors import PolicyError
from millstream.policy import Retain

growth = st.lists(
    st.tuples(st.integers(1, 40), st.floats(0, 30)), min_size=1, max_size=200
)  # events in one flush, seconds before the next


def grow(policy, flushes, *, start=0):
    """Marks of a log that grows so; each step as (first, last, now, age of the oldest event)."""
    marks = Marks(policy, first=1, last=start, now=0.0)
    written = dict.fromkeys(range(1, start + 1), 0.0)
    now, last, trims = 0.0, start, 0
    for events, pause in flushes:
        written |= dict.fromkeys(range(last + 1, last + events + 1), now)
        last += events
        marks.note(last, now)
        before = marks.due(now)
        if before is not None:
            trims += 1
            yield marks, before, now, written, trims
            marks.trimmed(before)
        yield marks, None, now, written, trims
        now += pause


@given(growth, st.integers(1, 300))
def test_the_newest_events_are_kept_and_little_more(flushes, events):
    for marks, before, _, _, trims in grow(Retain(events=events), flushes):
        if before is not None:
            assert marks.last - before + 1 == events  # exactly these would be left
        else:
            assert marks.last - marks.first + 1 <= events + max(1, events // PART)
        assert trims <= 1 + marks.last / max(1, events // PART)


@given(growth, st.floats(1, 400))
def test_what_is_young_is_kept_and_what_is_old_goes(flushes, seconds):
    for marks, before, now, written, _ in grow(Retain(seconds=seconds), flushes):
        if before is not None:
            assert all(now - written[p] > seconds - 1e-6 for p in range(marks.first, before))
        elif marks.first <= marks.last:
            slack = seconds / (2 * PART)
            pauses = max((pause for _, pause in flushes), default=0.0)
            assert now - written[marks.first] < seconds + slack + pauses + 1e-6


@given(growth, st.integers(1, 300), st.floats(1, 400))
def test_both_bounds_hold_together(flushes, events, seconds):
    for marks, before, _, _, _ in grow(Retain(events=events, seconds=seconds), flushes):
        if before is None:
            assert marks.last - marks.first + 1 <= events + max(1, events // PART)


def test_what_an_earlier_worker_left_counts_as_new():
    marks = Marks(Retain(seconds=10), first=1, last=100, now=1000.0)
    marks.note(101, 1005.0)
    assert marks.due(1009.9) is None
    assert marks.due(1010.0) == 101


@pytest.mark.parametrize("wrong", [{}, {"events": 0}, {"seconds": 0}])
def test_a_policy_out_of_range_is_refused(wrong):
    with pytest.raises(PolicyError, match="Retain"):
        Retain(**wrong)
