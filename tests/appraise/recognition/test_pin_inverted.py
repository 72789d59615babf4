"""The inverted file against its definition: every entry is looked at, one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.appraise.recognition.features import shipped_words
from millstream_apps.appraise.recognition.inverted import (
    ENTRY,
    NEAR,
    TURNS,
    Entries,
    asked,
    looked_up,
    segment_of,
)
from tests.appraise.recognition.pins import features, kept

WORDS = shipped_words()
PINS = (0, 1, 2, 3)


def entries(numbers: tuple[int, ...]) -> Entries:
    """Those of some pins, each with its owner."""
    found = [kept(number).entries.copy() for number in numbers]
    for number, own in zip(numbers, found, strict=True):
        own["owner"] = number
    return np.concatenate(found) if found else np.empty(0, ENTRY)


@settings(max_examples=8, deadline=None)
@given(st.permutations(PINS), st.integers(0, len(PINS)), st.sampled_from(PINS))
def test_what_is_near_in_the_same_word_is_found_and_nothing_else(
    order: list[int], count: int, shown: int
) -> None:
    held = entries(tuple(order[:count]))
    photo = asked(features(shown), WORDS)
    found = looked_up(segment_of(held, len(WORDS.centres)), photo)
    told = set()
    for asker, (words, bits) in enumerate(zip(photo.words, photo.bits, strict=True)):
        for word, own in zip(words, bits, strict=True):
            near = (held["word"] == word) & (np.bitwise_count(held["bits"] ^ own) <= NEAR)
            for each in held[near]:
                turned = (int(photo.angle[asker]) - int(each["angle"])) % 256
                told.add((asker, int(each["owner"]), turned * TURNS // 256, each.tobytes()))
    own = found.segment.entries()[found.at]
    rows = zip(found.asker, found.owner, found.turn, own, strict=True)
    seen = [
        (int(asker), int(owner), int(turn), each.tobytes()) for asker, owner, turn, each in rows
    ]
    assert set(seen) == told
    assert len(seen) >= len(told)  # a pin may hold one entry twice
    assert (found.weight > 0).all()
    assert bool(told) == (count > 0)


@given(st.permutations(PINS), st.integers(0, len(PINS)))
def test_a_segment_gives_back_its_entries_by_their_words(order: list[int], count: int) -> None:
    held = entries(tuple(order[:count]))
    segment = segment_of(held, len(WORDS.centres))
    assert len(segment) == len(held)
    assert np.array_equal(segment.entries(), held[np.argsort(held["word"], kind="stable")])
