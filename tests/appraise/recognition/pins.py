"""Drawn pins as the files that users have, for the tests of recognition and of the catalogue."""

import io
from functools import cache

import numpy as np
from examples.pins.drawing import Rgba, draw, draw_back
from PIL import Image

from millstream_apps.appraise.recognition import Compact, Index, compact_of
from millstream_apps.appraise.recognition.features import Features
from millstream_apps.appraise.recognition.index import decode_frame


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
