"""The bench's rule of which pictures are different ones: other sizes, turns and colours are not."""

import cv2
import numpy as np
from bench.likeness import different
from bench.pictures import hue_turned, recoloured

from tests.appraise.recognition.pins import front


def turned(number: int, degrees: float, side: int) -> np.ndarray:
    picture = cv2.copyMakeBorder(front(number), 80, 80, 80, 80, cv2.BORDER_CONSTANT)
    middle = picture.shape[1] / 2, picture.shape[0] / 2
    matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    spun = cv2.warpAffine(picture, matrix, picture.shape[1::-1])
    return cv2.resize(spun, (side, side), interpolation=cv2.INTER_AREA)


def test_copies_are_left_out_and_other_pins_are_kept() -> None:
    pictures = [
        ("first", front(1)),
        ("smaller and turned", turned(1, 67, 200)),
        ("other", front(2)),
        ("other in another colour", hue_turned(front(2), 0.3)),
        ("third", front(6)),
        ("not asked for", front(9)),
    ]
    kept, left_out = different(pictures, 3)
    assert [name for name, _ in kept] == ["first", "other", "third"]
    assert left_out == 2


def test_a_grey_picture_has_no_other_colours() -> None:
    grey = front(1).copy()
    grey[:, :, :3] = grey[:, :, :3].mean(axis=2, keepdims=True)
    assert recoloured(grey, 0.4) is None
    assert recoloured(front(1), 0.4) is not None
