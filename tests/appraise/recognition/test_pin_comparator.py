"""The comparator: one drawing is told from another, whatever the light does; and what it
learns from: photos whose place is known, variants that differ.
"""

import io

import cv2
import numpy as np
from bench.likeness import TOO_ALIKE, thumbnail
from bench.pairs import pool_of
from bench.pictures import hue_turned
from bench.variants import edited, redrawn, related
from examples.pins.drawing import pin, render
from examples.pins.photographs import EASY, shot
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from millstream_apps.appraise.recognition import comparator
from millstream_apps.appraise.recognition.align import FINE, reduced
from millstream_apps.appraise.recognition.frame import frame_of
from millstream_apps.appraise.recognition.light import relit
from millstream_apps.appraise.recognition.photo import Picture
from tests.appraise.recognition.pins import front

PINS = (0, 1, 2, 3, 6, 9)
numbers = st.sampled_from(PINS)
seeds = st.integers(0, 9999)


def planes(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture's frame (FINE, FINE, 3), and where the pin is, 0 to 1."""
    frame = frame_of(Picture(picture[..., :3].copy(), picture[..., 3].copy()))
    inside = cv2.resize(frame.mask, (FINE, FINE), interpolation=cv2.INTER_AREA) > 127
    return reduced(frame.rgb).astype(np.float32), inside.astype(np.float32)


def told(reference: np.ndarray, shown: np.ndarray, seed: int) -> float:
    """The comparator's answer where a picture in bad light is laid exactly over another one."""
    rng = np.random.default_rng(seed)
    (own, inside), (theirs, _) = planes(reference), planes(shown)
    seen = cv2.GaussianBlur(theirs * rng.uniform(0.85, 1.1), (0, 0), rng.uniform(0.3, 1.5))
    seen = np.clip(seen + rng.normal(0, 5, seen.shape), 0, 255).astype(np.float32)
    even = relit(own, seen, inside)[0]
    return comparator.log_odds(comparator.stacked(own, even, inside, inside))


@settings(max_examples=20, deadline=None)
@given(numbers, seeds)
def test_a_drawing_is_itself_in_any_light(number: int, seed: int) -> None:
    assert told(front(number), front(number), seed) > 0


@settings(max_examples=20, deadline=None)
@given(numbers, seeds)
def test_another_drawing_of_the_same_form_is_another(number: int, seed: int) -> None:
    shown = render(related(pin(number), np.random.default_rng(seed)))
    assume(float(thumbnail(shown) @ thumbnail(front(number))) < TOO_ALIKE)
    assert told(front(number), shown, seed) < told(front(number), front(number), seed)


@settings(max_examples=10, deadline=None)
@given(numbers, seeds)
def test_the_place_of_a_photographed_pin_is_known(number: int, seed: int) -> None:
    picture = front(number)
    data, homography = shot(picture, seed, EASY)
    photo = np.asarray(Image.open(io.BytesIO(data)))
    back = cv2.warpPerspective(photo, np.linalg.inv(homography), picture.shape[1::-1])
    inside = picture[..., 3] > 250
    own, seen = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY)[inside].astype(float)
                 for each in (picture[..., :3].copy(), back))  # fmt: skip
    assert np.corrcoef(own, seen)[0, 1] > 0.9


@settings(max_examples=20, deadline=None)
@given(numbers, seeds)
@example(0, 1)  # the pin that lends its parts has the very same ones
def test_variants_differ_and_leave_the_rest_alone(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    original = front(number).copy()
    changed = edited(original, [front(0), front(1)], rng)
    assert np.array_equal(original, front(number))
    apart = (changed != original).any(axis=2)
    assert apart[original[..., 3] > 127].mean() < 0.6
    what = pin(number)
    other = redrawn(what, rng)
    assert other != what
    kept = sum(getattr(other, part) == getattr(what, part)
               for part in ("emblem", "field", "shape", "charges", "letters"))  # fmt: skip
    assert kept >= 3


def test_neighbours_are_the_pictures_that_look_most_alike() -> None:
    pool = pool_of([front(0), front(1), hue_turned(front(0), 0.3), front(2)])
    assert pool.neighbours[0][0] == 2
    assert pool.neighbours[2][0] == 0
