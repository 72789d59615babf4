"""Windows and their figures: nothing lost, borders right, formulas right."""

import math
import statistics
from itertools import pairwise

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import StepError
from millstream.testing.clock import EPOCH
from millstream_apps.nodeflow.nodes.windows import CountWindow, TimeWindow, Window
from tests.nodeflow.nodes import called, seconds, transformed, values

GAPS = st.lists(st.floats(0, 2.5), max_size=40)


def arrivals(gaps):
    moments = [sum(gaps[: at + 1]) for at in range(len(gaps))]
    return list(zip(moments, range(len(gaps)), strict=True))


# --- by count -------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 50))
def test_tumbling_counts_hold_every_message_once(count, total):
    told = values(transformed("window", {"count": count}, [(0, n) for n in range(total)]))
    assert [value for window in told for value in window.values] == list(range(total))
    assert all(len(window.values) == count for window in told if window.complete)
    assert sum(not window.complete for window in told) == (total % count > 0)


@given(st.integers(1, 9), st.data(), st.integers(0, 50))
def test_sliding_counts_are_the_last_messages_every_so_many(count, data, total):
    slide = data.draw(st.integers(1, count))
    state = CountWindow(count, slide)
    told = [window for n in range(total) for window in state.push(n, n)]
    seen = {value for window in [*told, *state.flush(total)] for value in window.values}
    assert seen == set(range(total))
    for window in told:
        assert window.values == list(range(window.values[0], window.values[0] + count))
    firsts = [window.values[0] for window in told]
    assert all(b - a == slide for a, b in pairwise(firsts))


# --- by time --------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(GAPS, st.sampled_from([0.5, 1.0, 3.0]))
def test_tumbling_times_hold_every_message_once_and_end_on_time(gaps, size):
    came = arrivals(gaps)
    told = transformed("window", {"seconds": size}, came)
    assert [value for _, window in told for value in window.values] == [v for _, v in came]
    for moment, window in told:
        for value in window.values:
            assert window.start - 1e-6 <= EPOCH + came[value][0] <= window.end + 1e-6
        if window.complete:
            assert window.end % size == pytest.approx(0, abs=1e-6)
            assert EPOCH + moment == pytest.approx(window.end, abs=1e-4)


@settings(max_examples=150, deadline=None)
@given(GAPS, st.sampled_from([(2.0, 1.0), (3.0, 0.5), (1.0, 0.3)]))
def test_sliding_times_hold_what_came_within_them(gaps, sizes):
    size, slide = sizes
    came = arrivals(gaps)
    told = values(transformed("window", {"seconds": size, "slide": slide}, came, end=10))
    assert {value for window in told for value in window.values} == {v for _, v in came}
    for window in told:
        inside = [v for t, v in came if window.start <= EPOCH + t < window.end]
        assert window.values == inside
    ends = [window.end for window in told]
    assert ends == sorted(set(ends))


def test_a_window_ends_though_nothing_more_comes():
    told = transformed("window", {"seconds": 1}, [(0.25, "a"), (0.5, "b")], end=100)
    assert seconds(told) == [1.0]
    assert values(told) == [Window(EPOCH, EPOCH + 1, ["a", "b"])]


def test_what_is_left_at_the_end_is_told_as_incomplete():
    told = transformed("window", {"seconds": 10}, [(1, "a"), (2, "b")])
    assert values(told) == [Window(EPOCH, EPOCH + 2, ["a", "b"], complete=False)]


def test_a_full_window_is_given_early_and_nothing_is_lost():
    state = TimeWindow(10.0, 10.0, most=4)
    told = [window for n in range(10) for window in state.push(n, 100.0 + n / 10)]
    assert [window.values for window in told] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [window.values for window in state.flush(102.0)] == [[8, 9]]


@pytest.mark.parametrize(
    "config",
    [{}, {"count": 3, "seconds": 1}, {"count": 3, "slide": 4}, {"count": 3, "slide": 1.5},
     {"seconds": 0}, {"count": 20_000}],
)  # fmt: skip
def test_a_window_that_makes_no_sense_is_refused(config):
    with pytest.raises(ValueError, match=r"count|slide|seconds"):
        transformed("window", config, [])


# --- figures --------------------------------------------------------------------------------------

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
ALL = ["count", "sum", "mean", "min", "max", "rate"]


@given(NUMBERS)
def test_figures_are_those_of_the_textbooks(numbers):
    config = {"figures": ALL, "percentiles": [0, 25, 50, 99.9, 100]}
    window = Window(0.0, 4.0, numbers)
    ((_, told),) = called("aggregate", config, [(0, window)])
    assert told["count"] == len(numbers)
    assert told["sum"] == pytest.approx(math.fsum(numbers))
    assert told["mean"] == pytest.approx(statistics.fmean(numbers), abs=1e-6)
    assert (told["min"], told["max"]) == (min(numbers), max(numbers))
    assert told["rate"] == len(numbers) / 4
    for percent, name in ((0, "p0"), (25, "p25"), (50, "p50"), (99.9, "p99.9"), (100, "p100")):
        assert told[name] == pytest.approx(numpy.percentile(numbers, percent), abs=1e-6)


def test_figures_of_a_field():
    config = {"of": "value.c * 2", "figures": ["max"]}
    assert values(called("aggregate", config, [(0, [{"c": 1}, {"c": 4}])])) == [{"max": 8}]


@pytest.mark.parametrize(
    ("config", "message", "said"),
    [
        ({"figures": ["mean"]}, [], "mean of no message"),
        ({"percentiles": [50]}, [], "of no message"),
        ({"figures": ["rate"]}, [1, 2], "plain list"),
        ({"figures": ["rate"]}, Window(3.0, 3.0, [1]), "at one moment"),
        ({"figures": ["sum"]}, ["x"], "need numbers, not a str"),
        ({"figures": ["sum"]}, [True], "need numbers, not a bool"),
    ],
)
def test_no_figure_is_made_up(config, message, said):
    with pytest.raises(StepError, match=said):
        called("aggregate", config, [(0, message)])
