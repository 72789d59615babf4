"""Whether a frame and the photo laid over it show one drawing: the answer of a small network.

Both pictures pass the same layers, so that comparing is learnt and not pictures. What differs is
then looked at in the mean and where it is strongest, for one other detail makes another pin. The
network is plain numpy; `bench/training.py` makes its numbers, comparator.npz, from pairs that
`bench/pairs.py` photographs. Knows nothing of catalogues or of what its answer is used for.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[Any]  # (channels, height, width) of float32

SIDE = 64  # pixels of the pictures that are compared
CELL = 4  # pixels of SIDE that one cell of the comparison covers
STRONGEST = 8  # cells of 256 whose mean stands for the greatest difference
RANGE = 30.0  # of CIE Lab, that a network's input takes as 1
MOST = 12.0  # log-odds: the network is not surer than this


def stacked(frame: Planes, photo: Planes, inside: Planes, weight: Planes) -> NDArray[np.uint8]:
    """(8, SIDE, SIDE): Lab of the frame and of the relit photo (both RGB 0-255), where the pin is
    and what can be compared (both 0-1), each 0-255.
    """
    pictures = [_lab(frame), _lab(photo)]
    near = cv2.dilate(_small(inside * 255), np.ones((3, 3), np.uint8))
    planes = np.dstack([*pictures, near, _small(weight * 255)])
    return np.ascontiguousarray(planes.transpose(2, 0, 1), np.uint8)


def log_odds(stack: NDArray[np.uint8], numbers: Mapping[str, Planes] | None = None) -> float:
    """That the two pictures of a stack are one drawing, whatever its colours."""
    net = numbers or shipped_network()
    inside, weight = (plane.astype(np.float32)[None] / 255 for plane in stack[6:])
    one, other = (
        _read(np.concatenate([_scaled(part) * inside, inside]), net)
        for part in (stack[:3], stack[3:6])
    )
    seen = _cells(np.concatenate([inside, weight]))
    counts = seen[1:]
    both = np.concatenate([np.abs(one - other) * counts, one * other * counts, seen])
    found = _layer(_layer(both, net, "c1"), net, "c2") * counts
    values = found.reshape(len(found), -1)
    mean = values.sum(axis=1) / (float(counts.sum()) + 1)
    strongest = np.partition(values, -STRONGEST, axis=1)[:, -STRONGEST:].mean(axis=1)
    pooled = np.concatenate([mean, strongest])
    hidden = np.maximum(net["f1.weight"] @ pooled + net["f1.bias"], 0)
    told = float(net["f2.weight"][0] @ hidden + net["f2.bias"][0])
    return float(np.clip(told, -MOST, MOST))


@lru_cache(maxsize=1)
def shipped_network() -> Mapping[str, Planes]:
    """The numbers that are part of the package."""
    package = files("millstream_apps.appraise.recognition")
    with np.load(BytesIO(package.joinpath("comparator.npz").read_bytes())) as kept:
        return {name: kept[name].astype(np.float32) for name in kept}


def _small(plane: Planes) -> NDArray[Any]:
    small = cv2.resize(plane, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.clip(small, 0, 255).round().astype(np.uint8)


def _lab(rgb: Planes) -> NDArray[Any]:
    return cv2.cvtColor(_small(rgb), cv2.COLOR_RGB2LAB)


def _scaled(eight: NDArray[np.uint8]) -> Planes:
    """Lab as OpenCV keeps it in bytes, about 0."""
    values = eight.astype(np.float32) - np.array([127.5, 128, 128], np.float32)[:, None, None]
    return values * (np.array([100 / 255, 1, 1], np.float32)[:, None, None] / RANGE)


def _read(planes: Planes, net: Mapping[str, Planes]) -> Planes:
    """One picture's 32 planes of SIDE / CELL."""
    first = _layer(planes, net, "e1", step=2)
    return _convolved(_layer(first, net, "e2", step=2), net, "e3")


def _layer(planes: Planes, net: Mapping[str, Planes], name: str, step: int = 1) -> Planes:
    return np.maximum(_convolved(planes, net, name, step), 0)


def _convolved(planes: Planes, net: Mapping[str, Planes], name: str, step: int = 1) -> Planes:
    """The planes under each of a layer's kernels (out, in, k, k), borders filled with 0."""
    kernels, bias = net[f"{name}.weight"], net[f"{name}.bias"]
    reach = kernels.shape[2] // 2
    padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[2:], (1, 2))
    windows = windows[:, ::step, ::step]
    height, width = windows.shape[1:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(-1, height * width)
    found = kernels.reshape(len(kernels), -1) @ columns + bias[:, None]
    return found.reshape(-1, height, width)


def _cells(planes: Planes) -> Planes:
    side = SIDE // CELL
    return planes.reshape(len(planes), side, CELL, side, CELL).mean(axis=(2, 4))
