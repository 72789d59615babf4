"""Where a frame lies: homographies from points, turns of the pin as a whole, overlays."""

import cv2
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millstream_apps.appraise.recognition import align
from millstream_apps.appraise.recognition.frame import SIDE, Frame, cut, frame_of
from millstream_apps.appraise.recognition.photo import Picture
from millstream_apps.appraise.recognition.whole import (
    likely_turns,
    likeness,
    stacked,
    whole,
    whole_of,
)
from tests.appraise.recognition.pins import front, seen_from

turns = st.floats(0, 359)
tilts = st.floats(0, 50)


@settings(max_examples=25, deadline=None)
@given(turns, tilts, st.floats(0, 6), st.integers(0, 99))
def test_a_homography_is_found_among_false_pairs(
    turn: float, tilt: float, towards: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = seen_from(turn, tilt, towards)
    here = rng.uniform(10, SIDE - 10, (60, 2)).astype(np.float32)
    there = cv2.perspectiveTransform(here[None].astype(np.float64), truth)[0]
    there += rng.normal(0, 0.5, there.shape)
    there[40:] = rng.uniform(0, 800, (20, 2))
    found = align.from_points(here, there.astype(np.float32))
    assert found is not None
    assert found.inliers >= 35
    away = np.linalg.norm(align.corners(found.homography) - align.corners(truth), axis=1)
    assert away.max() < 0.05 * 300
    assert found.residual < 0.02


@given(turns, tilts, st.floats(0, 6))
def test_turn_and_tilt_are_told(turn: float, tilt: float, towards: float) -> None:
    told_turn, told_tilt = align.turn_and_tilt(seen_from(turn, tilt, towards))
    assert abs(told_tilt - tilt) < 8
    off = abs((told_turn - turn + 180) % 360 - 180)
    assert off < 12


@given(turns, tilts, st.floats(0, 6))
def test_what_a_camera_can_see_is_plausible_and_its_mirror_is_not(
    turn: float, tilt: float, towards: float
) -> None:
    homography = seen_from(turn, tilt, towards)
    assert align.plausible(homography)
    mirror = np.array([[-1.0, 0, SIDE], [0, 1, 0], [0, 0, 1]])
    assert not align.plausible(homography @ mirror)


@given(st.lists(st.floats(-2, 2), min_size=8, max_size=8))
def test_what_is_plausible_follows_from_where_the_corners_lie(numbers: list[float]) -> None:
    numbers[6:] = [each / (4 * SIDE) for each in numbers[6:]]
    homography = np.array([*numbers, 1.0]).reshape(3, 3)
    square = np.array([[[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]]], np.float64)
    there = cv2.perspectiveTransform(square, homography)[0]
    assert np.allclose(align.corners(homography), there)
    sides = np.linalg.norm(there - np.roll(there, 1, axis=0), axis=1)
    assert np.isclose(align.side_in_photo(homography), sides.mean())
    if align.plausible(homography):
        assert align.SMALLEST < sides.mean() / SIDE < align.LARGEST
        assert cv2.isContourConvex(there.astype(np.float32))
        assert align.turn_and_tilt(homography)[1] < np.degrees(np.arccos(align.FLATTEST)) + 0.1


@given(tilts, st.floats(0, 6))
def test_a_view_is_plausible_down_to_the_flattest(tilt: float, towards: float) -> None:
    flat = np.diag([1.0, np.cos(np.radians(80 * tilt / 50)), 1.0])
    cosine, sine = np.cos(towards), np.sin(towards)
    turned = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    seen = turned @ flat @ turned.T
    assume(abs(flat[1, 1] - align.FLATTEST) > 1e-6)
    assert align.plausible(seen) == (flat[1, 1] > align.FLATTEST)


def frame(number: int) -> Frame:
    picture = front(number)
    return frame_of(Picture(picture[..., :3].copy(), picture[..., 3].copy()))


FRAMES = [frame(number) for number in (0, 1, 2, 3, 6)]
WHOLES = [whole_of(each) for each in FRAMES]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, len(FRAMES) - 1), turns, st.floats(0.6, 1.0))
def test_the_whole_finds_the_pin_and_its_turn(which: int, turn: float, squeeze: float) -> None:
    middle = (SIDE / 2, SIDE / 2)
    spin = np.vstack([cv2.getRotationMatrix2D(middle, -turn, 1.0), (0, 0, 1)])
    flat = np.array([[squeeze, 0, (1 - squeeze) * SIDE / 2], [0, 1, 0], [0, 0, 1.0]])
    matrix = (flat @ spin)[:2]
    rgb = cv2.warpAffine(FRAMES[which].rgb, matrix, (SIDE, SIDE), borderValue=(128, 128, 128))
    mask = cv2.warpAffine(FRAMES[which].mask, matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST)
    pin = whole(rgb, mask)
    assert pin is not None
    own = WHOLES[which]
    assert own is not None
    many = stacked([each.harmonics for each in WHOLES if each is not None])
    correlations = likeness(pin.harmonics, many)
    assert int(correlations.max(axis=1).argmax()) == which
    laid = align.from_whole(own.upright, pin.upright, likely_turns(correlations)[which][0])
    truth = cv2.perspectiveTransform(np.array([[[128.0, 40.0]]]), np.vstack([matrix, (0, 0, 1)]))
    told = cv2.perspectiveTransform(np.array([[[128.0, 40.0]]]), laid)
    assert np.linalg.norm(truth - told) < 0.1 * SIDE


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(30, 150), st.integers(30, 150))
def test_a_cut_knows_the_way_back(x: int, y: int, width: int, height: int) -> None:
    assume(x + width < 400)
    mask = np.zeros((400, 400), np.uint8)
    mask[y : y + height, x : x + width] = 255
    rgb = np.dstack([mask] * 3)
    cutting, (scale, left, top) = cut(rgb, mask)
    rows, columns = np.nonzero(cutting.mask)
    assert abs(columns.min() * scale + left - x) <= scale + 1
    assert abs(rows.max() * scale + top - (y + height - 1)) <= scale + 1
