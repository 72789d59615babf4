"""What a full buffer does: against a model that says it in one sentence per policy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.adaptive import Adapted
from millstream.core.buffer import EARLY, FULL, RANKS, SUPERSEDED, TIERS, Shelf
from millstream.policy import CLASSES, Buffer

KINDS = st.sampled_from([*CLASSES])
POLICIES = ("drop_oldest", "drop_newest", "drop_lowest", "latest")
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KINDS, st.integers(0, 3)),
        st.tuples(st.just("take"), st.integers(1, 4), st.just(0)),
    ),
    max_size=60,
)


class Model:
    """A plain list of (number, kind, key), and every rule spelled out."""

    def __init__(self, policy: Buffer) -> None:
        self.policy, self.waiting = policy, []
        self.rank = RANKS if policy.on_full == "drop_lowest" else TIERS

    def add(self, number, kind, key):
        dropped = []
        if self.policy.on_full == "latest":
            same = [m for m in self.waiting if (TIERS[m[1]], m[2]) == (TIERS[kind], key)]
            dropped += [(SUPERSEDED, m[1]) for m in same]
            self.waiting = [m for m in self.waiting if m not in same]
        everything = [*self.waiting, (number, kind, key)]
        if len(everything) > self.policy.size:
            lowest = min(self.rank[m[1]] for m in everything)
            candidates = [m for m in everything if self.rank[m[1]] == lowest]
            victim = candidates[-1] if self.policy.on_full == "drop_newest" else candidates[0]
            everything.remove(victim)
            dropped.append((FULL, victim[1]))
        self.waiting = everything
        return dropped


@pytest.mark.parametrize("on_full", POLICIES)
@settings(deadline=None)
@given(size=st.integers(1, 6), actions=ACTIONS)
def test_it_does_what_the_model_says(on_full, size, actions):
    policy = Buffer(size=size, on_full=on_full)
    shelf, model = Shelf(policy), Model(policy)
    number = 0
    for action, what, key in actions:
        if action == "add":
            number += 1
            dropped = shelf.add(number, f"v{number}", what, key=key)
            assert [tuple(each) for each in dropped] == model.add(number, what, key)
        else:
            numbers, values = shelf.take(what)
            assert numbers == [m[0] for m in model.waiting[:what]]
            assert values == [f"v{n}" for n in numbers]
            del model.waiting[:what]
        assert len(shelf) == len(model.waiting) <= size


@pytest.mark.parametrize("on_full", POLICIES)
@settings(deadline=None)
@given(size=st.integers(1, 5), kinds=st.lists(KINDS, max_size=40))
def test_control_and_error_outlive_all_data(on_full, size, kinds):
    shelf = Shelf(Buffer(size=size, on_full=on_full))
    waiting = 0
    for number, kind in enumerate(kinds, start=1):
        for dropped in shelf.add(number, kind, kind, key=number):
            if TIERS[dropped.kind]:  # then nothing below it can have been there
                assert waiting == size
                _, left = shelf.take(size)
                assert all(TIERS[each] >= TIERS[dropped.kind] for each in left)
                return
        waiting = len(shelf)


def test_latest_keeps_the_newest_of_each_key():
    shelf = Shelf(Buffer(size=10, on_full="latest"))
    for number, key in enumerate("aabbab", start=1):
        shelf.add(number, key, "data-flow", key=key)
    assert shelf.take(9) == ([5, 6], ["a", "b"])
    assert shelf.add(7, "a", "data-flow", key="a") == []  # what was taken is superseded no more


def test_under_load_an_adaptive_buffer_turns_data_away_by_weight():
    shelf = Shelf(Buffer(size=100, on_full="drop_oldest"))
    load = Adapted(size=100, threshold=0.5, rate=0.8)
    lost = dict.fromkeys(CLASSES, 0)
    for number in range(1, 1001):
        kind = [*CLASSES][number % 4]
        for dropped in shelf.add(number, 0, kind, adapted=load):
            assert dropped.cause == EARLY
            lost[dropped.kind] += 1
        if len(shelf) > 60:
            shelf.take(5)
    assert lost["control"] == lost["error"] == 0
    assert lost["ui-update"] > lost["data-flow"] > 0
    under_load = 250 - 13  # of each class, the first 50 in all found it half empty
    assert lost["ui-update"] == pytest.approx(under_load * 0.8 * 0.7, rel=0.05)
    assert lost["data-flow"] == pytest.approx(under_load * 0.8 * 0.3, rel=0.05)


def test_a_smaller_size_is_kept_from_the_next_message_on():
    shelf = Shelf(Buffer(size=10, on_full="drop_oldest"))
    for number in range(1, 11):
        shelf.add(number, number, "data-flow")
    shelf.size = 4
    assert len(shelf.add(11, 11, "data-flow")) == 7
    assert shelf.take(9)[0] == [8, 9, 10, 11]


def test_clearing_says_what_went():
    shelf = Shelf(Buffer(size=10, on_full="latest"))
    shelf.add(1, 1, "error", key=1)
    shelf.add(2, 2, "data-flow", key=2)
    assert sorted(dropped.kind for dropped in shelf.clear()) == ["data-flow", "error"]
    assert len(shelf) == 0
    assert shelf.add(3, 3, "error", key=1) == []
