"""Photographs a picture as a phone would: turned, tilted, on a table, in bad light, out of focus.

`photograph(picture, seed)` gives the bytes of a JPEG; the same arguments give the same bytes. The
camera is a pinhole; what it sees is warped, shadowed, lit, blurred, and made noisy, in that order.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.pins.drawing import Rgba

Rgb = NDArray[Any]
Floats = NDArray[Any]
BACKGROUNDS = ("plain", "cloudy", "wood", "cloth", "clutter", "sheet")


@dataclass(frozen=True)
class Camera:
    """How hard the photo is: the largest of each trouble. Angles in degrees, lengths in pixels.

    `blur`: sigma at a photo 640 wide; `noise`: sigma of 255; `quality`: the worst JPEG's;
    `light`: how far a colour channel's gain may be from 1; `size`: the pin's least and greatest
    share of the shorter side.
    """

    turn: float = 360.0
    tilt: float = 38.0
    blur: float = 1.6
    noise: float = 7.0
    glare: int = 2
    quality: int = 55
    light: float = 0.15
    size: tuple[float, float] = (0.35, 0.85)
    sides: tuple[int, int] = (480, 960)


EASY = Camera(tilt=15, blur=0.6, noise=2, glare=0, quality=85, light=0.05, size=(0.55, 0.85))
USUAL = Camera()
HARD = Camera(tilt=48, blur=2.6, noise=12, glare=3, quality=35, light=0.22, size=(0.25, 0.9))


def photograph(picture: Rgba, seed: int, camera: Camera = USUAL) -> bytes:
    """A JPEG of the RGBA picture."""
    return shot(picture, seed, camera)[0]


def shot(picture: Rgba, seed: int, camera: Camera = USUAL) -> tuple[bytes, NDArray[np.float64]]:
    """The JPEG, and the homography from the picture's pixels to the photo's."""
    rng = np.random.default_rng((7, seed))
    width, height = (int(side) for side in rng.integers(*camera.sides, size=2))
    scene = _background(rng, width, height)
    homography, side = _view(rng, picture.shape[:2], (width, height), camera)
    scene, pin = _place(rng, scene, picture, homography, side)
    scene = _light(rng, scene, camera)
    for _ in range(int(rng.integers(0, camera.glare + 1))):
        scene = _glare(rng, scene, homography, picture.shape[:2], pin)
    scene = _soften(rng, scene, camera.blur * max(width, height) / 640)
    scene = scene + rng.normal(0, rng.uniform(0.5, camera.noise), scene.shape).astype(np.float32)
    quality = int(rng.integers(camera.quality, 95))
    return encode(np.clip(scene, 0, 255).astype(np.uint8), quality), homography


def encode(picture: Rgb, quality: int = 90) -> bytes:
    """RGB to JPEG."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def blurred(picture: Rgba, sigma: float) -> Rgba:
    """A copy printed from a poor photo: the inside is soft, the outline cut as sharp as ever."""
    soft = cv2.GaussianBlur(picture[:, :, :3], (0, 0), sigma)
    return np.dstack([soft, picture[:, :, 3]])


def _view(rng: np.random.Generator, shape: tuple[int, int], photo: tuple[int, int],
          camera: Camera) -> tuple[NDArray[Any], float]:  # fmt: skip
    """The homography from the picture's pixels to the photo's, and the pin's side in pixels."""
    height, width = shape
    side = min(photo) * rng.uniform(*camera.size)
    turn = math.radians(rng.uniform(0, camera.turn))
    tilt, towards = math.radians(rng.uniform(0, camera.tilt)), rng.uniform(0, 2 * math.pi)
    axis = np.array([math.cos(towards), math.sin(towards), 0.0])
    rotation = cv2.Rodrigues(axis * tilt)[0] @ cv2.Rodrigues(np.array([0.0, 0.0, turn]))[0]
    distance = 3.2
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) / 2 @ rotation.T
    seen = corners[:, :2] * (distance / (distance + corners[:, 2:])) * side
    room = np.maximum(np.array(photo) - np.ptp(seen, axis=0), 0) / 2
    middle = np.array(photo) / 2 + rng.uniform(-0.8, 0.8, 2) * room
    there = (seen - (seen.min(0) + seen.max(0)) / 2 + middle).astype(np.float32)
    here = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return cv2.getPerspectiveTransform(here, there), side


def _place(rng: np.random.Generator, scene: Floats, picture: Rgba,
           homography: NDArray[np.float64], side: float) -> tuple[Floats, Floats]:  # fmt: skip
    """The pin on its background, over a soft shadow; and where the pin is, 0 to 1."""
    shrink = max(picture.shape[:2]) / side
    if shrink > 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.45 * shrink)
    colour = picture[:, :, :3].astype(np.float32)
    alpha = picture[:, :, 3].astype(np.float32) / 255
    size = scene.shape[1], scene.shape[0]
    warped = cv2.warpPerspective(colour, homography, size, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(alpha, homography, size)
    drop = rng.uniform(-0.03, 0.03, 2) * side
    moved = cv2.warpAffine(mask, np.array([[1, 0, drop[0]], [0, 1, drop[1]]]), size)
    shadow = cv2.GaussianBlur(moved, (0, 0), max(1.0, 0.02 * side)) * rng.uniform(0.1, 0.5)
    scene = scene * (1 - shadow[:, :, None])
    return scene * (1 - mask[:, :, None]) + warped * mask[:, :, None], mask


def _light(rng: np.random.Generator, scene: Floats, camera: Camera) -> Floats:
    """Exposure, a tint, contrast, and a slope of brightness across the photo."""
    height, width = scene.shape[:2]
    gains = rng.uniform(1 - camera.light, 1 + camera.light, 3) * rng.uniform(0.75, 1.15)
    angle, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0, camera.light)
    across = np.linspace(-1, 1, width) * math.cos(angle)
    down = np.linspace(-1, 1, height) * math.sin(angle)
    slope = 1 + depth * (across[None, :] + down[:, None])
    lit = scene / 255 * slope[:, :, None] * gains
    return (255 * np.clip(lit, 0, 1) ** rng.uniform(0.88, 1.14)).astype(np.float32)


def _glare(rng: np.random.Generator, scene: Floats, homography: NDArray[np.float64],
           shape: tuple[int, int], pin: Floats) -> Floats:  # fmt: skip
    """A bright spot on the pin, saturated in its middle: enamel shines, tables do not."""
    height, width = scene.shape[:2]
    spot = rng.uniform(0.15, 0.85, 2) * (shape[1], shape[0])
    x, y = cv2.perspectiveTransform(spot.reshape(1, 1, 2), homography)[0, 0]
    corners = np.array([[[0, 0], [shape[1], 0]]], np.float64)
    side = float(np.linalg.norm(np.diff(cv2.perspectiveTransform(corners, homography)[0], axis=0)))
    a, b = rng.uniform(0.04, 0.22) * side, rng.uniform(0.03, 0.09) * side
    angle = rng.uniform(0, math.pi)
    columns, rows = np.meshgrid(np.arange(width) - x, np.arange(height) - y)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    beside = rows * math.cos(angle) - columns * math.sin(angle)
    spread = np.exp(-((along / a) ** 2 + (beside / b) ** 2) / 2) * rng.uniform(90, 280) * pin
    return scene + spread[:, :, None].astype(np.float32)


def _soften(rng: np.random.Generator, scene: Floats, most: float) -> Floats:
    """Out of focus, or moved."""
    sigma = rng.uniform(0, most)
    if rng.random() < 0.3:
        length = int(2 * sigma) | 1
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, math.pi)
        reach = np.array([math.cos(angle), math.sin(angle)]) * (length - 1) / 2
        first, last = (np.round((length - 1) / 2 + sign * reach) for sign in (-1, 1))
        cv2.line(kernel, first.astype(int).tolist(), last.astype(int).tolist(), 1.0)
        return cv2.filter2D(scene, -1, kernel / kernel.sum())
    return cv2.GaussianBlur(scene, (0, 0), sigma) if sigma > 0.2 else scene


def _background(rng: np.random.Generator, width: int, height: int) -> Floats:
    kind = str(rng.choice(BACKGROUNDS))
    base = rng.uniform(30, 240, 3)
    if kind == "plain":
        return np.full((height, width, 3), base, np.float32)
    if kind == "sheet":  # paper or a screen: nearly white
        return np.full((height, width, 3), rng.uniform(215, 255), np.float32)
    if kind == "clutter":
        return _clutter(rng, width, height, base)
    fine = rng.normal(0, 1, (height, width)).astype(np.float32)
    if kind == "cloudy":
        grain = cv2.GaussianBlur(fine, (0, 0), rng.uniform(2, 30))
    elif kind == "wood":
        grain = cv2.GaussianBlur(fine, (0, 0), sigmaX=rng.uniform(20, 60), sigmaY=1.2)
    else:  # cloth: two crossing threads
        step = rng.uniform(3, 9)
        threads = (
            np.sin(np.arange(width) / step)[None, :] * np.sin(np.arange(height) / step)[:, None]
        )
        grain = threads.astype(np.float32) + 0.3 * fine
    grain = grain / (grain.std() + 1e-6) * rng.uniform(4, 26)
    return (base + grain[:, :, None]).astype(np.float32)


def _clutter(
    rng: np.random.Generator, width: int, height: int, base: NDArray[np.float64]
) -> Floats:
    """Things on the table: lines, boxes and discs of any colour."""
    scene = np.full((height, width, 3), base, np.uint8)
    for _ in range(int(rng.integers(6, 30))):
        colour = tuple(int(part) for part in rng.integers(0, 256, 3))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        u, v = int(rng.integers(width)), int(rng.integers(height))
        what = int(rng.integers(3))
        if what == 0:
            cv2.line(scene, (x, y), (u, v), colour, int(rng.integers(1, 9)), cv2.LINE_AA)
        elif what == 1:
            cv2.rectangle(scene, (x, y), (x + width // 9, y + height // 7), colour, -1)
        else:
            cv2.circle(
                scene, (x, y), int(rng.integers(5, max(width // 9, 6))), colour, -1, cv2.LINE_AA
            )
    return scene.astype(np.float32)
