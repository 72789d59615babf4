"""The index: thousands of references in memory, and which of them a photo might show.

Two ways lead to a reference. The pin as a whole (`whole`), compared with every reference's under
every turn; and an inverted file over the visual words of local features (`inverted`). A photo's
features vote for the references that have features like them, under one turn: votes that disagree
about it count apart.
Knows nothing of databases; whoever fills it brings frames.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.features import Features, Words, shipped_words
from millstream_apps.appraise.recognition.frame import NEUTRAL, Frame
from millstream_apps.appraise.recognition.inverted import (
    TURNS,
    Found,
    Segment,
    asked,
    entries_of,
    looked_up,
    segment_of,
)
from millstream_apps.appraise.recognition.votes import poses, tally
from millstream_apps.appraise.recognition.whole import (
    Whole,
    empty_harmonics,
    form_of,
    form_shares,
    likely_turns,
    likeness,
    stacked,
    whole_of,
)

TALLIED = 6  # times as many slots are looked at for a common pose as are wanted
NEAR_MASK = np.ones((3, 3), np.uint8)  # beyond it WebP may keep what is not there


@dataclass(frozen=True, slots=True)
class Compact:
    """One view of a reference as the index keeps it: `entries` (n, ENTRY, owner unset), the pin as
    a whole (None where it is too thin for that) and the frame's WebP bytes, mask in its alpha.
    """

    entries: NDArray[np.void]
    whole: Whole | None
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class Hit:
    """A slot that a photo might show: its votes, and the pairs of places that voted alike (`here`
    in the frame's pixels, `there` in the photo's). `similarity`: the homography that they say.
    """

    slot: int
    votes: float
    here: NDArray[Any]
    there: NDArray[Any]
    similarity: NDArray[Any]


def compact(frame: Frame, words: Words | None = None) -> Compact:
    """What the index keeps of a frame; this is the work of adding a reference (some 40 ms)."""
    entries = entries_of(frame.features, words or shipped_words())
    return Compact(entries, whole_of(frame), encode_frame(frame))


def encode_frame(frame: Frame) -> bytes:
    """A frame as WebP; the mask is its alpha."""
    rgba = np.dstack([frame.rgb[:, :, ::-1], frame.mask])
    return cv2.imencode(".webp", rgba, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()


def decode_frame(thumbnail: bytes) -> Frame:
    """The frame that `encode_frame` wrote."""
    bgra = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_UNCHANGED)
    if bgra is None:
        raise ValueError("a frame's picture is damaged: import its reference again")
    if bgra.shape[2] == 3:  # WebP leaves out an alpha that says nothing
        return Frame(bgra[:, :, ::-1].copy(), np.full(bgra.shape[:2], 255, np.uint8))
    mask = cv2.threshold(bgra[:, :, 3], 127, 255, cv2.THRESH_BINARY)[1]
    rgb = np.full((*mask.shape, 3), NEUTRAL, np.uint8)
    cv2.copyTo(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), cv2.dilate(mask, NEAR_MASK), rgb)
    return Frame(rgb, mask)


@dataclass
class Index:
    """References in memory, for one thread at a time. `version` is its filler's to use."""

    words: Words = field(default_factory=shipped_words)
    version: int = 0

    def __post_init__(self) -> None:
        self._names: list[str | None] = []
        self._views: list[str] = []
        self._searched: dict[str, NDArray[np.bool_]] = {}
        self._thumbnails: list[bytes] = []
        self._uprights: list[NDArray[Any] | None] = []
        self._slots: dict[str, list[int]] = {}
        self._fresh: list[Compact] = []
        self._segments: list[Segment] = []
        self._harmonics = stacked(())
        self._form_shares = form_shares(self._harmonics)
        self._weights: NDArray[Any] = np.empty(0, np.float32)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, reference: str) -> bool:
        return reference in self._slots

    def __repr__(self) -> str:
        return f"Index({len(self)} references, {self.nbytes / 1e6:.0f} MB)"

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the references take."""
        self.settle()
        parts = sum(each.nbytes for each in self._segments)
        return parts + self._harmonics.nbytes + sum(map(len, self._thumbnails))

    def add(self, reference: str, views: Iterable[tuple[str, Compact]]) -> None:
        """Add a reference's views, in the place of those that it had."""
        self.remove(reference)
        self._searched.clear()
        for view, kept in views:
            self._slots.setdefault(reference, []).append(len(self._names))
            self._names.append(reference)
            self._views.append(view)
            self._thumbnails.append(kept.thumbnail)
            self._uprights.append(None if kept.whole is None else kept.whole.upright)
            self._fresh.append(kept)

    def remove(self, reference: str) -> None:
        """Forget a reference; one that is not there is forgotten already."""
        self._searched.clear()
        for slot in self._slots.pop(reference, ()):
            self._names[slot] = None
            self._thumbnails[slot] = b""

    def name(self, slot: int) -> str | None:
        """Whose the slot is; None where it was removed."""
        return self._names[slot]

    def slots(self, reference: str, view: str) -> list[int]:
        """Where a reference's pictures of one view are."""
        return [slot for slot in self._slots.get(reference, ()) if self._views[slot] == view]

    def frame(self, slot: int) -> Frame:
        """The picture in a slot."""
        return decode_frame(self._thumbnails[slot])

    def upright(self, slot: int) -> NDArray[Any] | None:
        """`Whole.upright` of the picture in a slot."""
        return self._uprights[slot]

    def whole(self, slot: int) -> Whole | None:
        """The picture in a slot as a whole."""
        self.settle()
        upright = self._uprights[slot]
        return None if upright is None else Whole(self._harmonics[:, slot].T, upright)

    def settle(self) -> None:
        """Put what was added into order; searching does so by itself."""
        if not self._fresh:
            return
        fresh = _owned(self._fresh, len(self._names) - len(self._fresh))
        circles = stacked(
            [
                empty_harmonics() if kept.whole is None else kept.whole.harmonics
                for kept in self._fresh
            ]
        )
        self._harmonics = np.concatenate([self._harmonics, circles], axis=1)
        self._form_shares = np.concatenate([self._form_shares, form_shares(circles)])
        self._fresh = []
        # A small segment is put together with the next one, so that there are never many.
        while self._segments and len(self._segments[-1]) < 4 * len(fresh):
            fresh = np.concatenate([self._segments.pop().entries(), fresh])
        alive = np.array([name is not None for name in self._names])
        alive = alive[fresh["owner"]]
        self._segments.append(segment_of(fresh[alive], len(self.words.centres)))
        counts = np.zeros(len(self._names), np.float32)
        for segment in self._segments:
            counts += np.bincount(segment.owner, minlength=len(counts))
        self._weights = (1 / np.sqrt(counts + 20)).astype(np.float32)

    def like_whole(
        self, harmonics: NDArray[np.complex64], most: int, view: str, in_colour: bool = True
    ) -> list[tuple[int, float, tuple[float, ...]]]:
        """The slots of one view that are likest as a whole, best first: slot, likeness, turns."""
        self.settle()
        if not self._names:
            return []
        if in_colour:
            correlations = likeness(harmonics, self._harmonics)
            scores = correlations.max(axis=1)
        else:
            correlations = likeness(form_of(harmonics), self._harmonics)
            scores = correlations.max(axis=1) / (self._form_shares + 1e-6)
        scores = np.where(self._of_view(view), scores, -1)
        best = np.argsort(-scores, kind="stable")[:most]
        turns = likely_turns(correlations[best])
        found = zip(best, turns, strict=True)
        return [(int(at), float(scores[at]), turn) for at, turn in found if scores[at] > 0]

    def like_parts(self, features: Features, most: int, view: str) -> list[Hit]:
        """The slots of one view for which most features vote, best first."""
        self.settle()
        if not len(features) or not self._segments:
            return []
        photo = asked(features, self.words)
        found = [looked_up(segment, photo) for segment in self._segments]
        votes = np.zeros(len(self._names) * TURNS)
        for each in found:
            places = each.owner * TURNS + each.turn
            votes += np.bincount(places, each.weight, minlength=len(votes))
        votes = votes.reshape(-1, TURNS)
        votes = votes + 0.5 * (np.roll(votes, 1, axis=1) + np.roll(votes, -1, axis=1))
        scores = np.where(self._of_view(view), votes.max(axis=1) * self._weights, 0)
        best = np.argsort(-scores, kind="stable")[: TALLIED * most]
        return self._posed(best[scores[best] > 0], found, features, most)

    def _posed(
        self, slots: NDArray[np.int64], found: list[Found], features: Features, most: int
    ) -> list[Hit]:
        """At most so many of the slots, with the pairs that agree on their pose, best first."""
        rank = np.full(len(self._names), -1, np.int32)
        rank[slots] = np.arange(len(slots))
        parts = [_pairs_of(each, rank) for each in found]
        owner, asker, weight, here, angle, size = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        here = here.astype(np.float64) + 0.5
        there = features.points[asker]
        turn = (features.angles[asker] - angle * (360 / 256)) % 360
        octave = np.log2(np.maximum(features.sizes[asker], 0.5) / 0.5) - size / 16
        posed = poses(owner, here, there, turn, octave)
        votes, chosen = tally(posed, weight, len(slots))
        votes *= self._weights[slots]
        members = np.flatnonzero(chosen)
        members = members[np.argsort(posed.owner[members], kind="stable")]
        starts = np.searchsorted(posed.owner[members], np.arange(len(slots) + 1))
        hits = []
        for at in np.argsort(-votes, kind="stable")[:most]:
            own = members[starts[at] : starts[at + 1]]
            pin = posed.similarity(own)
            hits.append(
                Hit(int(slots[at]), float(votes[at]), here[own].astype(np.float32), there[own], pin)
            )
        return hits

    def _of_view(self, view: str) -> NDArray[np.bool_]:
        """Which slots are searched for a view; kept until a reference is added or removed."""
        if view not in self._searched:
            pairs = zip(self._names, self._views, strict=True)
            alive = [name is not None and each == view for name, each in pairs]
            self._searched[view] = np.array(alive, bool)
        return self._searched[view]


def _pairs_of(found: Found, rank: NDArray[np.int32]) -> tuple[NDArray[Any], ...]:
    """What is found of the slots that have a rank: rank, asker, weight, place, angle and size."""
    owner = rank[found.owner]
    use = np.flatnonzero(owner >= 0)
    at, kept = found.at[use], found.segment
    return (owner[use].astype(np.int64), found.asker[use], found.weight[use], kept.place[at],
            kept.angle[at], kept.size[at])  # fmt: skip


def _owned(fresh: list[Compact], first: int) -> NDArray[np.void]:
    """All entries of what was added, each with its slot."""
    entries = np.concatenate([kept.entries for kept in fresh])
    owners = np.repeat(np.arange(first, first + len(fresh)), [len(kept.entries) for kept in fresh])
    entries["owner"] = owners
    return entries
