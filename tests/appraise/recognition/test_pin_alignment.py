"""Alignment: a rough placement becomes exact, whatever the colours and the light; votes of one pose
are told from votes by chance.
"""

import math

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.appraise.recognition import align
from millstream_apps.appraise.recognition.frame import SIDE, Frame
from millstream_apps.appraise.recognition.index import decode_frame
from millstream_apps.appraise.recognition.refine import refined
from millstream_apps.appraise.recognition.votes import poses, tally
from tests.appraise.recognition.pins import kept, seen_from

PHOTO = 800  # pixels of a side; the pin is in the middle
numbers = st.sampled_from([0, 1, 2, 3])
FRAMES = {number: decode_frame(kept(number).thumbnail) for number in (0, 1, 2, 3)}


def seen(frame: Frame, homography: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photo in other colours, on an uneven table, with a bright spot on the pin."""
    size = (PHOTO, PHOTO)
    mask = cv2.warpPerspective(frame.mask, homography, size)[:, :, None] / 255
    rgb = cv2.warpPerspective(frame.rgb, homography, size)[:, :, ::-1]
    table = (
        rng.uniform(40, 220, 3)
        + cv2.GaussianBlur(rng.normal(0, 60, (*size, 1)), (0, 0), 9)[..., None]
    )
    rows, columns = np.mgrid[:PHOTO, :PHOTO] - PHOTO / 2
    spot = 200 * np.exp(-((rows - 20) ** 2 + (columns + 30) ** 2) / (2 * 18**2))
    photo = rgb * mask + table * (1 - mask) + spot[:, :, None] * mask
    return np.clip(photo + rng.normal(0, 4, photo.shape), 0, 255).astype(np.uint8)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The mean distance of five places of the frame, in its pixels."""
    places = np.array([[[60, 60], [196, 60], [196, 196], [60, 196], [128, 128]]], np.float64)
    back = cv2.perspectiveTransform(cv2.perspectiveTransform(places, one), np.linalg.inv(other))
    return float(np.linalg.norm(back - places, axis=2).mean())


@settings(max_examples=6, deadline=None)
@given(numbers, st.floats(0, 359), st.floats(0, 35), st.floats(0, 6), st.integers(0, 99))
def test_a_rough_placement_becomes_exact(
    number: int, turn: float, tilt: float, towards: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = seen_from(turn, tilt, towards)
    photo = align.levels(seen(FRAMES[number], truth, rng))
    middle = np.array([[1, 0, SIDE / 2], [0, 1, SIDE / 2], [0, 0, 1.0]])
    small, angle = rng.uniform(0.96, 1.04), math.radians(rng.uniform(-4, 4))
    wrong = np.array([
        [small * math.cos(angle), -small * math.sin(angle), rng.uniform(-5, 5)],
        [small * math.sin(angle), small * math.cos(angle), rng.uniform(-5, 5)],
        [0, 0, 1.0],
    ])  # fmt: skip
    start = truth @ middle @ wrong @ np.linalg.inv(middle)
    found = refined(FRAMES[number], photo, start)
    assert found is not None
    assert apart(found, truth) < 2.0


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 359), st.floats(-1, 1), st.integers(0, 99))
def test_pairs_of_one_pose_outvote_more_pairs_by_chance(
    turn: float, octave: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    right, wrong = 14, 60
    here = rng.uniform(10, SIDE - 10, (right + wrong, 2))
    scale, angle = 2.0**octave, math.radians(turn)
    spin = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    there = here @ spin.T + 300
    there[right:] = rng.uniform(0, 600, (wrong, 2))
    turns = np.append(turn + rng.normal(0, 3, right), rng.uniform(0, 360, wrong)) % 360
    octaves = np.append(octave + rng.normal(0, 0.1, right), rng.uniform(-3, 3, wrong))
    owner = np.repeat([0, 1], [right, wrong])
    found = poses(owner, here, there, turns, octaves)
    votes, chosen = tally(found, np.ones(len(owner)), 2)
    assert votes[0] > votes[1]
    mine = np.flatnonzero(chosen & (owner == 0))
    truth = np.array([[*spin[0], 300], [*spin[1], 300], [0, 0, 1.0]])
    assert apart(found.similarity(mine), truth) < 0.12 * SIDE
