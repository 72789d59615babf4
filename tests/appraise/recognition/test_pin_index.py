"""The index: what was added is found, what was removed is not, in whatever order it came."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.appraise.recognition import Index
from millstream_apps.appraise.recognition.index import decode_frame
from tests.appraise.recognition.pins import features, kept

NUMBERS = (0, 1, 2, 3)


def best(index: Index, number: int) -> tuple[str | None, str | None]:
    """What pin `number`'s own picture finds first: as a whole, and by its parts."""
    own = kept(number)
    assert own.whole is not None
    by_whole = index.like_whole(own.whole.harmonics, 1, "front")
    by_parts = index.like_parts(features(number), 1, "front")
    return (
        index.name(by_whole[0][0]) if by_whole else None,
        index.name(by_parts[0].slot) if by_parts else None,
    )


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NUMBERS), st.booleans(), st.booleans()), max_size=14))
def test_an_index_follows_its_changes(changes: list[tuple[int, bool, bool]]) -> None:
    index, present = Index(), set()
    for number, is_added, settles in changes:
        if is_added:
            index.add(str(number), [("front", kept(number))])
            present.add(number)
        else:
            index.remove(str(number))
            present.discard(number)
        if settles:
            index.settle()
    assert len(index) == len(present)
    for number in NUMBERS:
        wanted = str(number) if number in present else None
        by_whole, by_parts = best(index, number)
        if wanted:
            assert (by_whole, by_parts) == (wanted, wanted)
        else:
            assert str(number) not in (by_whole, by_parts)


def test_views_are_kept_apart() -> None:
    index = Index()
    index.add("a", [("front", kept(0)), ("back", kept(1))])
    assert best(index, 1)[0] == "a"
    whole = kept(1).whole
    assert whole is not None
    found = index.like_whole(whole.harmonics, 5, "back")
    assert [slot for slot, _, _ in found] == index.slots("a", "back")


def test_a_frame_survives_its_encoding() -> None:
    frame = decode_frame(kept(3).thumbnail)
    again = decode_frame(kept(3).thumbnail)
    assert np.array_equal(frame.mask, again.mask)
    assert 0.2 < frame.mask.mean() / 255 < 0.9


def test_its_size_is_told() -> None:
    index = Index()
    index.add("a", [("front", kept(0))])
    assert 5_000 < index.nbytes < 60_000
    assert repr(index) == f"Index(1 references, {index.nbytes / 1e6:.0f} MB)"
