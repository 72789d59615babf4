"""Latencies between two looks."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.latency import Latencies

SECONDS = st.lists(st.floats(1e-6, 100), max_size=40)


@given(SECONDS, SECONDS)
def test_what_came_since_is_as_if_it_had_been_counted_alone(before, after):
    whole, alone = Latencies(), Latencies()
    for each in before:
        whole.add(each)
    earlier = whole.copy()
    for each in after:
        whole.add(each)
        alone.add(each)
    found, wanted = whole.since(earlier), alone.percentiles()
    assert found.count == wanted.count == len(after)
    assert abs(found.mean - wanted.mean) <= 1e-6 * (sum(before) + sum(after) + 1)
    for name in ("p50", "p95", "p99", "max"):  # its longest is known to the bucket's end
        assert getattr(wanted, name) <= getattr(found, name) * (1 + 1e-9)
        assert getattr(found, name) <= getattr(wanted, name) * 2**0.25 * (1 + 1e-9)
    assert earlier.percentiles().count == len(before), "a copy stands still"
