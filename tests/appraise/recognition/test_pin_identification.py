"""Identification over drawn pins that are photographed: a small form of bench/appraisal.py."""

import msgspec
import numpy as np
import pytest
from bench.pictures import hue_turned
from examples.pins.drawing import draw_back
from examples.pins.photographs import USUAL, Camera, encode, photograph

from millstream_apps.appraise.recognition import (
    Abstention,
    Identification,
    Index,
    Match,
    PhotoError,
    compact_of,
    guesses,
    identify,
    rectified,
)
from tests.appraise.recognition.pins import (
    SMALL_EASY,
    SMALL_USUAL,
    encoded,
    front,
    index_of,
    kept,
)

KNOWN = (0, 1, 2, 3, 6, 9)
UNKNOWN = (301, 302, 303, 304)


@pytest.fixture(scope="module")
def index() -> Index:
    return index_of(*KNOWN)


def named(number: int, index: Index, camera: Camera = SMALL_USUAL) -> str | None:
    """What a photo of a pin is named; None where recognition abstains for want of a match."""
    verdict = identify(photograph(front(number), 40 + number, camera), index=index)
    if isinstance(verdict, Match):
        assert verdict.score >= 0.5
        return verdict.reference
    assert verdict.reason == "no_match", verdict
    assert f"{len(index)} references" in verdict.message
    return None


def test_known_pins_are_named_and_unknown_ones_are_not(index: Index) -> None:
    assert [named(number, index) for number in KNOWN[:3]] == [f"pin-{each}" for each in KNOWN[:3]]
    assert [named(number, index) for number in UNKNOWN[:2]] == [None, None]


@pytest.mark.long
def test_many_known_pins_are_named_and_many_unknown_ones_are_not() -> None:
    known = tuple(range(24))
    index = index_of(*known)
    told = [named(number, index, USUAL) for number in known]
    right = [name == f"pin-{number}" for number, name in zip(known, told, strict=True)]
    assert sum(right) >= 23
    assert all(is_right or name is None for is_right, name in zip(right, told, strict=True))
    assert not any(named(number, index, USUAL) for number in range(301, 325))


def test_the_same_photo_gives_the_same_answer_and_it_survives_json(index: Index) -> None:
    photo = photograph(front(6), 3, SMALL_EASY)
    first = identify(photo, index=index)
    assert first == identify(photo, index=index_of(*KNOWN))
    assert isinstance(first, Match)
    encoded_once = msgspec.json.encode(first)
    assert msgspec.json.decode(encoded_once, type=Identification) == first


def test_geometry_lays_the_pin_straight(index: Index) -> None:
    photo = photograph(front(1), 5, SMALL_EASY)
    verdict = identify(photo, index=index)
    assert isinstance(verdict, Match)
    straight = compact_of(rectified(photo, verdict.geometry[0]), "front")
    alone = Index()
    alone.add("straight", [("front", straight)])
    whole = kept(1).whole
    assert whole is not None
    _, likeness, turns = alone.like_whole(whole.harmonics, 1, "front")[0]
    assert likeness > 0.6
    assert min(turns[0], 2 * np.pi - turns[0]) < 0.2


@pytest.mark.parametrize("number", [KNOWN[0], KNOWN[4], UNKNOWN[0]])
def test_no_answer_depends_on_which_guesses_come_first(
    number: int, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photograph(front(number), 40 + number, SMALL_USUAL)
    told = identify(photo, index=index)
    for way in ("BY_WHOLE", "BY_FORM", "BY_PARTS"):
        monkeypatch.setattr(guesses, way, (0, getattr(guesses, way)[1]))
    alone = identify(photo, index=index)
    assert isinstance(alone, Match) == isinstance(told, Match) == (number in KNOWN)
    if isinstance(told, Match) and isinstance(alone, Match):
        assert (told.reference, told.geometry) == (alone.reference, alone.geometry)
    elif isinstance(told, Abstention) and isinstance(alone, Abstention):
        assert told.reason == alone.reason


def test_once_one_is_likely_only_what_looks_as_good_is_laid_on() -> None:
    photo = photograph(front(2), 8, SMALL_EASY)
    settled = identify(photo, index=index_of(*KNOWN))
    assert [each.reference for each in settled.candidates] == ["pin-2"]
    unsettled = identify(photo, index=index_of(*(each for each in KNOWN if each != 2)))
    assert isinstance(unsettled, Abstention)
    assert len(unsettled.candidates) > 1


def test_twins_are_close_candidates() -> None:
    index = Index()
    for name in ("one", "other"):
        index.add(name, [("front", kept(2))])
    verdict = identify(photograph(front(2), 8, SMALL_EASY), index=index)
    assert isinstance(verdict, Abstention)
    assert verdict.reason == "close_candidates"
    assert {each.reference for each in verdict.candidates} == {"one", "other"}


@pytest.mark.parametrize("shown", ["red", "blue"])
def test_other_enamel_is_the_right_one_or_close(shown: str) -> None:
    pictures = {"red": front(9), "blue": hue_turned(front(9), 0.4)}
    index = Index()
    for name, picture in pictures.items():
        index.add(name, [("front", compact_of(encoded(picture)))])
    verdict = identify(photograph(pictures[shown], 11, SMALL_EASY), index=index)
    if isinstance(verdict, Match):
        assert verdict.reference == shown
    else:
        assert verdict.reason == "close_candidates"


def test_the_back_is_looked_for_and_a_wrong_one_is_not_found() -> None:
    index = Index()
    index.add("a", [("front", kept(3)), ("back", compact_of(encoded(draw_back(1))))])
    photo = photograph(front(3), 2, SMALL_EASY)
    right = identify(photo, photograph(draw_back(1), 4, SMALL_EASY), index=index)
    wrong = identify(photo, photograph(front(301), 4, SMALL_EASY), index=index)
    assert isinstance(right, Match)
    assert [each.view for each in right.geometry] == ["front", "back"]
    assert isinstance(wrong, Match)
    assert [each.view for each in wrong.geometry] == ["front"]


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_photo_is_unreadable(grey: int, index: Index) -> None:
    verdict = identify(encode(np.full((300, 400, 3), grey, np.uint8)), index=index)
    assert isinstance(verdict, Abstention)
    assert verdict.reason == "unreadable"


def test_an_empty_catalogue_has_no_match() -> None:
    verdict = identify(photograph(front(0), 1, SMALL_EASY), index=Index())
    assert isinstance(verdict, Abstention)
    assert verdict.reason == "no_match"


def test_a_broken_second_photo_is_told_by_its_name(index: Index) -> None:
    with pytest.raises(PhotoError) as caught:
        identify(photograph(front(0), 1, SMALL_EASY), b"no picture", index=index)
    assert caught.value.field == "back"
