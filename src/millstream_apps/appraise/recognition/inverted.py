"""The inverted file: local features by their visual words, and those that look like a photo's.

Each feature of a reference is 18 bytes: its 64 bits, whose it is, its word, place, direction and
size. Knows words and bits; what a likeness speaks for is the index's to say.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.features import Features, Words

TURNS = 12  # classes of the turn between photo and reference
NEAR = 20  # bits of 64 that two signatures of one feature may differ in
PROBES = 3  # words looked up for each feature of a photo

ENTRY = np.dtype(
    [("bits", np.uint64), ("owner", np.int32), ("word", np.uint16), ("angle", np.uint8),
     ("size", np.uint8), ("x", np.uint8), ("y", np.uint8)]
)  # fmt: skip
Entries = NDArray[np.void]  # of ENTRY
_COLUMNS = ("bits", "owner", "angle", "size")


@dataclass(frozen=True, slots=True)
class Asked:
    """A photo's features as the file reads them: `words` (n, PROBES), nearest first, `bits` (n,
    PROBES) seen from each of these, and `angle` (n) in 256ths of a turn.
    """

    words: NDArray[np.int32]
    bits: NDArray[np.uint64]
    angle: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries in the order of their words, `starts[w]:starts[w + 1]` being word w's; a column for
    each of ENTRY's fields but the word, for a search reads few fields of many entries.
    """

    starts: NDArray[np.int64]
    bits: NDArray[np.uint64]
    owner: NDArray[np.int32]
    angle: NDArray[np.uint8]
    size: NDArray[np.uint8]
    place: NDArray[np.uint8]  # (n, 2): x, y

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the columns take."""
        columns = (self.starts, self.bits, self.owner, self.angle, self.size, self.place)
        return sum(column.nbytes for column in columns)

    def entries(self) -> Entries:
        """The entries that the columns were made of."""
        entries = np.empty(len(self), ENTRY)
        entries["word"] = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        for name in _COLUMNS:
            entries[name] = getattr(self, name)
        entries["x"], entries["y"] = self.place.T
        return entries


@dataclass(frozen=True, slots=True)
class Found:
    """Features that look alike: which of the photo's, where in the `segment`, and whose; by how
    much that counts, and which of TURNS lies between.
    """

    segment: Segment
    asker: NDArray[np.int64]
    at: NDArray[np.int64]
    owner: NDArray[np.int32]
    weight: NDArray[Any]
    turn: NDArray[np.int32]


def entries_of(features: Features, words: Words) -> Entries:
    """Features of a frame as the file keeps them, their owner unset."""
    entries = np.zeros(len(features), ENTRY)
    if len(features):
        nearest = words.nearest(features.descriptors, 1)[:, 0]
        entries["bits"] = words.signatures(words.projected(features.descriptors), nearest)
        entries["word"] = nearest
        entries["angle"], entries["size"] = _angle_byte(features), _size_byte(features)
        places = np.clip(features.points, 0, 255).astype(np.uint8)
        entries["x"], entries["y"] = places[:, 0], places[:, 1]
    return entries


def segment_of(entries: Entries, words: int) -> Segment:
    """Entries put into the order of their words, of which there are so many."""
    ordered = entries[np.argsort(entries["word"], kind="stable")]
    starts = np.searchsorted(ordered["word"], np.arange(words + 1))
    bits, owner, angle, size = (ordered[name].copy() for name in _COLUMNS)
    return Segment(starts, bits, owner, angle, size, np.stack([ordered["x"], ordered["y"]], axis=1))


def asked(features: Features, words: Words) -> Asked:
    """What a photo's features ask of every segment. There must be at least one."""
    nearest = words.nearest(features.descriptors, PROBES)
    projected = words.projected(features.descriptors)
    bits = [words.signatures(projected, nearest[:, probe]) for probe in range(PROBES)]
    return Asked(nearest, np.stack(bits, axis=1), _angle_byte(features))


def looked_up(segment: Segment, photo: Asked) -> Found:
    """The entries whose bits differ little from those of a photo's feature in the same word."""
    found = [_of_probe(segment, photo, probe) for probe in range(PROBES)]
    asker, at, weight = (np.concatenate(part) for part in zip(*found, strict=True))
    turned = photo.angle[asker] - segment.angle[at]  # in bytes a turn comes round by itself
    return Found(segment, asker, at, segment.owner[at], weight, _TURN[turned])


def _of_probe(segment: Segment, photo: Asked, probe: int) -> tuple[NDArray[Any], ...]:
    """Of each feature and one of its words: asker, entry and weight of what is near."""
    word, bits = photo.words[:, probe], photo.bits[:, probe]
    first, last = segment.starts[word], segment.starts[word + 1]
    near, apart = _near(segment.bits, zip(first.tolist(), last.tolist(), bits, strict=True))
    asker = np.repeat(np.arange(len(word)), [len(each) for each in near])
    at = np.concatenate(near) + first[asker]
    rarity = np.log(max(len(segment), 1) / np.maximum(last - first, 1)) ** 2
    return asker, at, rarity[asker] * _LIKE[np.concatenate(apart)]


def _near(
    bits: NDArray[np.uint64], stretches: Iterable[tuple[int, int, np.uint64]]
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.uint8]]]:
    """Of each stretch of the file and the bits asked of it: places in it that are near, and how
    many bits these are apart.

    A stretch at a time: what is compared lies close together, and nothing is copied for it.
    """
    near, apart = [], []
    for first, last, own in stretches:
        distance = np.bitwise_count(bits[first:last] ^ own)
        at = (distance <= NEAR).nonzero()[0]
        near.append(at)
        apart.append(distance[at])
    return near, apart


_TURN = (np.arange(256) * TURNS // 256).astype(np.int32)
_LIKE = np.exp(-((np.arange(NEAR + 1) / 12.0) ** 2))


def _angle_byte(features: Features) -> NDArray[Any]:
    return np.floor(features.angles * (256 / 360)).astype(np.int64).astype(np.uint8)


def _size_byte(features: Features) -> NDArray[Any]:
    """16 steps an octave, 0 at half a pixel."""
    return np.clip(16 * np.log2(np.maximum(features.sizes, 0.5) / 0.5), 0, 255).astype(np.uint8)
