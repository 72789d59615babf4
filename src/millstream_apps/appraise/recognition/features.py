"""Local features: points of a picture that are found again whatever its turn, size and light.

SIFT (Lowe, IJCV 2004) on luminance, its descriptors as RootSIFT (Arandjelovic and Zisserman, CVPR
2012). `Words` turns a descriptor into a visual word and 64 bits (Hamming embedding: Jegou, Douze
and Schmid, ECCV 2008), which is what an index of many thousand pictures can hold.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.photo import Grey, Rgb

Floats = NDArray[Any]  # of float32
PROJECTION_SEED = 64  # of the fixed rotation that the bits are taken from
BITS = 64


@dataclass(frozen=True, slots=True)
class Features:
    """`points` (n, 2) in pixels, `angles` (n) in degrees, `sizes` (n) in pixels, `descriptors` (n,
    128), each of length 1.
    """

    points: Floats
    angles: Floats
    sizes: Floats
    descriptors: Floats

    def __len__(self) -> int:
        return len(self.points)

    def moved(self, scale: float, x: float, y: float) -> "Features":
        """The same features in the pixels of a picture of which this one was a scaled cut."""
        offset = np.array([x, y], np.float32)
        return Features(self.points * scale + offset, self.angles, self.sizes * scale,
                        self.descriptors)  # fmt: skip

    def joined(self, other: "Features") -> "Features":
        """Both, this one's first."""
        return Features(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.angles, other.angles]),
            np.concatenate([self.sizes, other.sizes]),
            np.concatenate([self.descriptors, other.descriptors]),
        )


def find(rgb: Rgb, most: int, mask: Grey | None = None) -> Features:
    """At most `most` features, the strongest, where the mask allows."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    points, descriptors = _sift(most).detectAndCompute(grey, mask)
    if descriptors is None or not len(points):
        empty = np.empty(0, np.float32)
        return Features(np.empty((0, 2), np.float32), empty, empty, np.empty((0, 128), np.float32))
    values = np.array([(*each.pt, each.angle, each.size) for each in points], np.float32)
    return Features(values[:, :2], values[:, 2], values[:, 3], _root(descriptors))


@lru_cache(maxsize=8)
def _sift(most: int) -> Any:
    return cv2.SIFT.create(nfeatures=most, contrastThreshold=0.02, edgeThreshold=12)


def _root(descriptors: Floats) -> Floats:
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.sqrt(descriptors / total).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Words:
    """A visual vocabulary: `centres` (words, 128), and per word the `medians` (words, 64) at which
    the 64 projections of a descriptor turn from 0 to 1.
    """

    centres: Floats
    medians: Floats
    projection: Floats

    @classmethod
    def train(cls, descriptors: Floats, words: int, seed: int = 1) -> "Words":
        """From many descriptors, by k-means. The same arguments give the same vocabulary."""
        cv2.setRNGSeed(seed)
        stop = (cv2.TERM_CRITERIA_MAX_ITER, 12, 0.0)
        start = np.empty(0, np.int32)
        found = cv2.kmeans(descriptors, words, start, stop, 1, cv2.KMEANS_PP_CENTERS)
        labels, centres = found[1].ravel(), np.asarray(found[2], np.float32)
        projection = _projection()
        projected = descriptors @ projection
        medians = np.stack([
            np.median(projected[labels == word], axis=0) if (labels == word).any()
            else centres[word] @ projection
            for word in range(words)
        ])  # fmt: skip
        return cls(centres, medians.astype(np.float32), projection)

    def nearest(self, descriptors: Floats, count: int) -> NDArray[np.int32]:
        """The `count` nearest words of each descriptor, nearest first: (n, count)."""
        likeness = descriptors @ self.centres.T - 0.5 * (self.centres**2).sum(axis=1)
        if count == 1:
            return likeness.argmax(axis=1).astype(np.int32)[:, None]
        some = np.argpartition(-likeness, count, axis=1)[:, :count]
        order = np.take_along_axis(-likeness, some, axis=1).argsort(axis=1, kind="stable")
        return np.take_along_axis(some, order, axis=1).astype(np.int32)

    def projected(self, descriptors: Floats) -> Floats:
        """What bits are taken from, whatever the word: (n, BITS)."""
        return descriptors @ self.projection

    def signatures(self, projected: Floats, words: NDArray[np.int32]) -> NDArray[np.uint64]:
        """64 bits for each projected descriptor, seen from the word beside it: (n,)."""
        bits = projected > self.medians[words]
        return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _projection() -> Floats:
    """128 to 64 dimensions: the first columns of a fixed random rotation."""
    noise = np.random.Generator(np.random.PCG64(PROJECTION_SEED)).standard_normal((128, 128))
    return np.linalg.qr(noise)[0][:, :BITS].astype(np.float32)


@lru_cache(maxsize=1)
def shipped_words() -> Words:
    """The vocabulary in vocabulary.npz (made by `bench/appraisal.py --train`)."""
    data = files("millstream_apps.appraise.recognition").joinpath("vocabulary.npz").read_bytes()
    with np.load(BytesIO(data)) as kept:
        return Words(
            kept["centres"].astype(np.float32) / 255,
            kept["medians"].astype(np.float32),
            kept["projection"].astype(np.float32),
        )


def save_words(words: Words) -> bytes:
    """The bytes of vocabulary.npz: centres in 1/255, the rest in half precision."""
    out = BytesIO()
    np.savez_compressed(
        out,
        centres=np.clip(np.round(words.centres * 255), 0, 255).astype(np.uint8),
        medians=words.medians.astype(np.float16),
        projection=words.projection.astype(np.float16),
    )
    return out.getvalue()
