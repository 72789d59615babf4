"""Guesses: which references a photo might show, and roughly where each of them would lie.

Two ways bring them, the pin as a whole and its local features; the foremost of each come first, as
a wave of their own, for what a photo shows is nearly always among these. Says nothing of how alike
the pictures are there.
"""

from dataclasses import dataclass

from millstream_apps.appraise.recognition import align
from millstream_apps.appraise.recognition.align import Matrix
from millstream_apps.appraise.recognition.index import Hit, Index
from millstream_apps.appraise.recognition.photoview import View as Seen
from millstream_apps.appraise.recognition.whole import Whole, likely_turns, likeness, stacked

Way = tuple[int, int]  # how many guesses it may bring: of the first wave, and in all
BY_WHOLE: Way = (4, 16)
BY_FORM: Way = (2, 8)
BY_PARTS: Way = (6, 20)


@dataclass(frozen=True, slots=True)
class Guess:
    """A slot that the photo may show: found by a `hit` of features, or by the pin as a `whole`
    under one of some `turns` (radians).
    """

    slot: int
    hit: Hit | None = None
    whole: Whole | None = None
    turns: tuple[float, ...] = ()

    def starts(self, index: Index) -> list[Matrix]:
        """The homographies that it says, from the slot's frame to the photo."""
        if self.hit is not None:
            placement = align.from_points(self.hit.here, self.hit.there)
            return [self.hit.similarity if placement is None else placement.homography]
        upright = index.upright(self.slot)
        if upright is None or self.whole is None:
            return []
        return [align.from_whole(upright, self.whole.upright, turn) for turn in self.turns]


def guesses(seen: Seen, index: Index, view: str) -> tuple[list[Guess], list[Guess]]:
    """What a photo may show of an index: the foremost of each way, and the others."""
    first: list[Guess] = []
    others: list[Guess] = []
    for (foremost, _), found in _ways(seen, index, view):
        first += found[:foremost]
        others += found[foremost:]
    return first, others


def _ways(seen: Seen, index: Index, view: str) -> list[tuple[Way, list[Guess]]]:
    """Each way's guesses, best first."""
    ways = []
    for at, pin in enumerate(seen.wholes):
        way = BY_FORM if at else BY_WHOLE
        ways.append((way, _by_whole(pin, index, way, view)))
        if at == 0:
            ways.append((BY_FORM, _by_whole(pin, index, BY_FORM, view, in_colour=False)))
    hits = index.like_parts(seen.features, BY_PARTS[1], view)
    return [*ways, (BY_PARTS, [Guess(hit.slot, hit=hit) for hit in hits])]


def _by_whole(pin: Whole, index: Index, way: Way, view: str, in_colour: bool = True) -> list[Guess]:
    alike = index.like_whole(pin.harmonics, way[1], view, in_colour)
    return [Guess(slot, whole=pin, turns=turns) for slot, _, turns in alike]


def of_slot(slot: int, seen: Seen, index: Index) -> list[Guess]:
    """Where one given slot may lie, by the pin as a whole."""
    own = index.whole(slot)
    if own is None:
        return []
    only = stacked([own.harmonics])
    return [Guess(slot, whole=pin, turns=likely_turns(likeness(pin.harmonics, only))[0])
            for pin in seen.wholes]  # fmt: skip
