"""The pin as a whole: its picture made upright but for its turn, and read along circles.

A mask's second moments say how a tilted camera squeezed the pin; undone, what is left unknown is a
turn, and a turn is a shift along circles. `Whole` holds circles of light, colour and shape as
harmonics, so that the likeness under every turn is one Fourier transform. It finds plain pictures
that have few local features; it needs the pin to be told from its background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.frame import SIDE, Frame
from millstream_apps.appraise.recognition.photo import Grey, Rgb
from millstream_apps.appraise.recognition.segment import filled

RINGS, ANGLES, HARMONICS = 12, 64, 20
REACH = 2.3  # standard deviations of the mask: an even disc ends at 2
READ_SIDE = 128  # pixels of a frame from which its circles are read
CHANNELS = 4  # lightness, two of colour, the mask
WEIGHTS = (1.0, 0.8, 0.8, 0.8)
PEAKS, ALSO = 2, 0.85  # turns that are told of one pin, and how likely the second must be


@dataclass(frozen=True, slots=True)
class Whole:
    """`harmonics` (RINGS * CHANNELS, HARMONICS) complex, of length 1 in all; `upright`: the matrix
    (2, 3) from the canonical plane, where the pin's deviation is 1, to the picture's pixels.
    """

    harmonics: NDArray[np.complex64]
    upright: NDArray[Any]


def whole_of(frame: Frame) -> Whole | None:
    """The circles of a frame's pin, read at READ_SIDE pixels; places are in the frame's own."""
    small = cv2.resize(frame.rgb, (READ_SIDE, READ_SIDE), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(frame.mask, (READ_SIDE, READ_SIDE), interpolation=cv2.INTER_AREA)
    found = whole(small, filled(np.where(inside > 127, 255, 0).astype(np.uint8)))
    if found is None:
        return None
    return Whole(found.harmonics, found.upright * (SIDE / READ_SIDE))


def whole(rgb: Rgb, mask: Grey) -> Whole | None:
    """The circles of a pin; None where the mask is too thin to have any."""
    upright = canonical(mask)
    if upright is None:
        return None
    radii = (np.arange(RINGS) + 0.5) / RINGS * REACH
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    plane = np.stack([np.outer(radii, np.cos(angles)), np.outer(radii, np.sin(angles))])
    places = np.tensordot(upright[:, :2], plane, axes=1) + upright[:, 2, None, None]
    # one ring step, in pixels: what is finer than the circles is smoothed away first
    step = REACH / RINGS * np.sqrt(abs(np.linalg.det(upright[:, :2])))
    return Whole(_harmonics(_circles(rgb, mask, places.astype(np.float32), step), radii), upright)


def canonical(mask: Grey) -> NDArray[Any] | None:
    """The matrix (2, 3) that lays a plane of unit deviation onto the mask."""
    moments = cv2.moments(mask, binaryImage=True)
    if moments["m00"] < 40:
        return None
    area = moments["m00"]
    middle = np.array([moments["m10"], moments["m01"]]) / area
    spread = np.array(
        [[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]
    ) / area  # fmt: skip
    values, vectors = np.linalg.eigh(spread)
    if values[0] < 1.0:
        return None
    return np.column_stack([vectors @ np.diag(np.sqrt(values)) @ vectors.T, middle])


def _circles(rgb: Rgb, mask: Grey, places: NDArray[Any], step: float) -> NDArray[Any]:
    """(CHANNELS, RINGS, ANGLES): each channel normalised within the mask, 0 outside of it."""
    sigma = max(0.4 * step, 0.5)
    inside = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), sigma)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab *= (mask > 0)[:, :, None]
    smooth = cv2.GaussianBlur(lab, (0, 0), sigma) / np.maximum(inside, 0.05)[:, :, None]
    seen = cv2.remap(smooth, places[0], places[1], cv2.INTER_LINEAR)
    shape = cv2.remap(inside, places[0], places[1], cv2.INTER_LINEAR)
    rings = np.arange(1, 2 * RINGS, 2, dtype=np.float32)[:, None]
    weight = shape * rings
    total = max(float(weight.sum()), 1e-6)
    channels = []
    for at, scale in enumerate((None, 28.0, 28.0)):
        values = seen[:, :, at]
        values = values - float((values * weight).sum()) / total
        if scale is None:
            scale = np.sqrt(float((values**2 * weight).sum()) / total) + 6.0
        channels.append(np.clip(values / scale, -2.5, 2.5) * shape)
    channels.append(shape - 0.5)
    return np.stack(channels).astype(np.float32)


def _harmonics(circles: NDArray[Any], radii: NDArray[Any]) -> NDArray[np.complex64]:
    """Fourier coefficients along each circle; a ring weighs as its area does."""
    found = np.fft.rfft(circles, axis=2)[:, :, :HARMONICS]
    found[:, :, 1:] *= np.sqrt(2)
    found *= np.sqrt(radii)[None, :, None] * np.array(WEIGHTS)[:, None, None]
    flat = found.reshape(CHANNELS * RINGS, HARMONICS)
    return (flat / max(float(np.linalg.norm(flat)), 1e-9)).astype(np.complex64)


def empty_harmonics() -> NDArray[np.complex64]:
    """Those of no pin: like nothing."""
    return np.zeros((CHANNELS * RINGS, HARMONICS), np.complex64)


def stacked(many: Sequence[NDArray[np.complex64]]) -> NDArray[np.complex64]:
    """Harmonics of many pins in the order that `likeness` reads them: (HARMONICS, n, rings)."""
    if not many:
        return np.zeros((HARMONICS, 0, CHANNELS * RINGS), np.complex64)
    return np.ascontiguousarray(np.stack(many).transpose(2, 0, 1))


def form_of(harmonics: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Light and shape without colour, of length 1: a pin in other enamel has nearly the same."""
    form = harmonics.copy()
    form[RINGS : 3 * RINGS] = 0
    return form / max(float(np.linalg.norm(form)), 1e-6)


def form_shares(many: NDArray[np.complex64]) -> NDArray[Any]:
    """How long the form of each of `stacked` pins is, (n,) of 0-1."""
    form = np.concatenate([many[:, :, :RINGS], many[:, :, 3 * RINGS :]], axis=2)
    return np.linalg.norm(form, axis=(0, 2))


def likeness(pin: NDArray[np.complex64], many: NDArray[np.complex64]) -> NDArray[Any]:
    """The correlation of one pin (rings, HARMONICS) with many (`stacked`) under every turn.

    (n, ANGLES) of -1 to 1; column k is the turn by 2 pi k / ANGLES from each one's plane to the
    pin's.
    """
    # one product a harmonic, straight through memory; then all turns of all of them in another
    spectrum = np.matmul(many, pin.T.conj()[:, :, None])[:, :, 0]
    return np.concatenate([spectrum.real, spectrum.imag]).T @ _turned()


@cache
def _turned() -> NDArray[Any]:
    """(2 HARMONICS, ANGLES): what each harmonic's real and imaginary part adds at each turn."""
    phase = 2 * np.pi / ANGLES * np.outer(np.arange(HARMONICS), np.arange(ANGLES))
    return np.concatenate([np.cos(phase), np.sin(phase)]).astype(np.float32)


def likely_turns(correlations: NDArray[Any]) -> list[tuple[float, ...]]:
    """The turns of each row that are likely, in radians, between the columns by a parabola: the
    best one, and the second peak where it is nearly as high (a pin may look alike both ways).
    """
    before, after = np.roll(correlations, 1, axis=1), np.roll(correlations, -1, axis=1)
    peaks = (correlations >= before) & (correlations > after)
    heights = np.where(peaks, correlations, -np.inf)
    bend = np.minimum(before + after - 2 * correlations, -1e-9)
    places = np.arange(ANGLES) + np.clip((before - after) / (2 * bend), -0.5, 0.5)
    places *= 2 * np.pi / ANGLES
    found = []
    for height, place in zip(heights, places, strict=True):
        order = np.argsort(-height, kind="stable")[:PEAKS]
        found.append(tuple(float(place[at]) for at in order if height[at] >= ALSO * height[order[0]]
                           and np.isfinite(height[at])) or (0.0,))  # fmt: skip
    return found
