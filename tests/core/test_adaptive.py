"""How an adaptive buffer follows its load: bounds, directions, and the way back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.adaptive import LARGEST, SMALLEST, WINDOW, Adapted, adapt

FILLS = st.lists(st.floats(0, 1), min_size=WINDOW, max_size=WINDOW)
SIZES = st.integers(SMALLEST, LARGEST)


@settings(deadline=None)
@given(size=SIZES, fills=FILLS, refused=st.integers(0, WINDOW))
def test_everything_stays_inside_its_bounds(size, fills, refused):
    after = adapt(Adapted(size), fills, refused, high=0.8)
    assert SMALLEST <= after.size <= LARGEST
    assert 0.5 <= after.threshold <= 0.9
    assert 0.1 <= after.rate <= 0.8
    assert after.size in (size, min(LARGEST, int(size * 1.5)), max(SMALLEST, int(size * 0.75)))


@settings(deadline=None)
@given(size=SIZES, fills=FILLS, more=FILLS)
def test_the_fuller_the_earlier_and_the_more_is_dropped(size, fills, more):
    low, high = sorted([fills, more], key=sum)
    one, other = (adapt(Adapted(size), each, 0, high=0.8) for each in (low, high))
    assert one.threshold >= other.threshold
    assert one.rate <= other.rate
    assert one.size <= other.size


def test_it_grows_when_refusing_and_shrinks_when_calm():
    assert adapt(Adapted(100), [0.1] * WINDOW, 6, high=0.8).size == 150
    assert adapt(Adapted(100), [0.9] * WINDOW, 0, high=0.8).size == 150
    assert adapt(Adapted(100), [0.5] * WINDOW, 5, high=0.8).size == 100
    assert adapt(Adapted(100), [0.2] * WINDOW, 1, high=0.8).size == 100
    assert adapt(Adapted(100), [0.2] * WINDOW, 0, high=0.8).size == 75


def test_from_one_bound_to_the_other_and_back():
    setting = Adapted(SMALLEST)
    for _ in range(20):
        setting = adapt(setting, [1.0] * WINDOW, WINDOW, high=0.8)
    assert (setting.size, round(setting.threshold, 9), round(setting.rate, 9)) == (2048, 0.5, 0.8)
    for _ in range(20):
        setting = adapt(setting, [0.0] * WINDOW, 0, high=0.8)
    assert (setting.size, round(setting.threshold, 9), round(setting.rate, 9)) == (64, 0.9, 0.1)
