"""Drawn pins as the files that users have, for the tests of recognition and of the catalogue."""

import io
import math
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from examples.pins.drawing import Rgba, draw, draw_back
from examples.pins.photographs import EASY, USUAL
from PIL import Image

from millstream_apps.appraise.recognition import Compact, Index, compact_of, warm_up
from millstream_apps.appraise.recognition.features import Features
from millstream_apps.appraise.recognition.frame import SIDE
from millstream_apps.appraise.recognition.index import decode_frame

SMALL_USUAL = replace(USUAL, sides=(400, 540))  # smaller photos: the same troubles, half the time
SMALL_EASY = replace(EASY, sides=(400, 540))

warm_up()


def encoded(picture: Rgba, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(out, kind, **options)
    return out.getvalue()


@cache
def front(number: int) -> Rgba:
    return draw(number)


@cache
def back(maker: int) -> Rgba:
    return draw_back(maker)


@cache
def kept(number: int) -> Compact:
    return compact_of(encoded(front(number)))


@cache
def features(number: int) -> Features:
    return decode_frame(kept(number).thumbnail).features


def index_of(*numbers: int) -> Index:
    index = Index()
    for number in numbers:
        index.add(f"pin-{number}", [("front", kept(number))])
    return index


def seen_from(turn: float, tilt: float, towards: float, side: float = 300.0) -> np.ndarray:
    """The homography of a pinhole camera that looks at the frame, whose middle it sees at 400, 400.

    Angles in degrees but for `towards`, the direction of the tilt, in radians.
    """
    spin = cv2.Rodrigues(np.array([0, 0, math.radians(turn)]))[0]
    axis = np.array([math.cos(towards), math.sin(towards), 0]) * math.radians(tilt)
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) / 2
    turned = corners @ (cv2.Rodrigues(axis)[0] @ spin).T
    seen = turned[:, :2] * (4 / (4 + turned[:, 2:])) * side + 400
    here = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]], np.float32)
    return cv2.getPerspectiveTransform(here, seen.astype(np.float32))
