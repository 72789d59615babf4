"""Pace, latencies and quotas of live runs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.latency import Latencies, Percentiles
from millstream.core.pace import LARGEST, SMALLEST, TURN, Pace
from millstream.core.quota import WHOLE, Quota


@settings(deadline=None)
@given(st.floats(1e-9, 1e-2))
def test_a_steady_cost_a_message_ends_in_turns_of_about_a_millisecond(cost):
    pace = Pace()
    for _ in range(120):
        pace.note(pace.size, pace.size * cost)
    assert SMALLEST <= pace.size <= LARGEST
    if SMALLEST < pace.size < LARGEST:
        assert TURN / 1.2 <= pace.size * cost <= TURN * 1.2


def test_a_turn_that_was_held_up_changes_little_and_is_forgotten():
    pace = Pace()
    for _ in range(50):
        pace.note(pace.size, pace.size * 1e-6)
    assert pace.size >= 990
    pace.note(pace.size, 10 * TURN)
    assert pace.size >= 400
    for _ in range(5):
        pace.note(pace.size, pace.size * 1e-6)
    assert pace.size >= 950
    pace.note(1, 1.0)
    assert pace.size >= 950


@settings(deadline=None)
@given(st.lists(st.floats(2e-6, 100), min_size=1, max_size=200))
def test_percentiles_are_right_to_a_quarter_of_an_octave(durations):
    latencies = Latencies()
    for each in durations:
        latencies.add(each)
    told = latencies.percentiles()
    assert told.count == len(durations)
    assert told.mean == pytest.approx(sum(durations) / len(durations))
    assert told.max == max(durations)
    ordered = sorted(durations)
    for part, found in ((0.5, told.p50), (0.95, told.p95), (0.99, told.p99)):
        exact = ordered[max(0, -(-len(ordered) * int(part * 100) // 100) - 1)]
        assert exact / 1.0001 <= found <= exact * 2**0.25 * 1.0001


def test_many_at_once_count_as_many():
    one, other = Latencies(), Latencies()
    one.add(0.5, 3)
    for _ in range(3):
        other.add(0.5)
    assert one.percentiles() == other.percentiles()
    assert Latencies().percentiles() == Percentiles()
    extreme = Latencies()
    extreme.add(-1.0)
    extreme.add(1e9)
    assert extreme.percentiles().max == 1e9


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.4), st.sampled_from("ab")), max_size=200))
def test_nothing_is_told_twice_and_nothing_forgotten(failures):
    quota, now, whole, counted = Quota(), 0.0, [], 0
    for pause, kind in failures:
        now += pause
        if quota.admits(now, kind):
            whole.append(now)
        if pause > 0.3:
            counted += sum(quota.counted().values())
    counted += sum(quota.counted().values())
    assert not quota
    assert len(whole) + counted == len(failures)
    for at in whole:
        assert sum(at <= other < at + 0.999 for other in whole) <= 2 * WHOLE


def test_kinds_are_bounded():
    quota = Quota()
    for number in range(1000):
        quota.admits(0.0, f"code {number}")
    counted = quota.counted()
    assert len(counted) <= 17
    assert sum(counted.values()) == 1000 - WHOLE
