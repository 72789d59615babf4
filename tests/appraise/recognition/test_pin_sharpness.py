"""Sharpness: what blurs a picture is told by how much, whatever its contrast and its noise."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream_apps.appraise.recognition.frame import SIDE, Frame
from millstream_apps.appraise.recognition.index import decode_frame
from millstream_apps.appraise.recognition.sharpness import Sharpness, sharpness
from tests.appraise.recognition.pins import kept

PINS = (2, 5, 9)
WHOLE = np.ones((SIDE, SIDE), np.float32)


def looked_at(frame: Frame, photo: np.ndarray) -> Sharpness:
    """Of a photo that lies on the frame pixel for pixel."""
    return sharpness(frame, (np.clip(photo, 0, 255).astype(np.uint8),), np.eye(3), WHOLE)


@given(
    number=st.sampled_from(PINS),
    sigma=st.floats(0.8, 5.0),
    contrast=st.floats(0.4, 1.0),
    noise=st.floats(0, 5),
)
def test_a_blur_is_measured_whatever_contrast_and_noise(
    number: int, sigma: float, contrast: float, noise: float
) -> None:
    frame = decode_frame(kept(number).thumbnail)
    photo = 128 + contrast * (cv2.GaussianBlur(frame.rgb, (0, 0), sigma) - 128.0)
    photo += np.random.default_rng(1).normal(0, noise, photo.shape)
    found = looked_at(frame, photo).blur * SIDE / 100
    assert found == pytest.approx(sigma, rel=0.15, abs=0.25)


@pytest.mark.parametrize("number", PINS)
def test_the_frame_itself_is_not_blurred(number: int) -> None:
    frame = decode_frame(kept(number).thumbnail)
    found = looked_at(frame, frame.rgb)
    assert found.blur == 0
    assert found.inside == 1


@pytest.mark.parametrize("number", PINS)
def test_a_copy_is_soft_inside_of_a_sharp_outline(number: int) -> None:
    frame = decode_frame(kept(number).thumbnail)
    soft = cv2.GaussianBlur(frame.rgb, (0, 0), 3.0)
    copy = np.where(frame.mask[..., None] > 0, soft, frame.rgb)
    found, photo = looked_at(frame, copy), looked_at(frame, soft)
    assert found.inside == pytest.approx(photo.inside, abs=0.05)
    assert found.against_outline < photo.against_outline


def test_what_has_no_edges_is_not_said_to_be_soft() -> None:
    plain = Frame(np.full((SIDE, SIDE, 3), 90, np.uint8), np.full((SIDE, SIDE), 255, np.uint8))
    found = looked_at(plain, np.random.default_rng(1).normal(90, 5, plain.rgb.shape))
    assert (found.inside, found.outline, found.blur) == (1, None, 0)
