"""Which card a reading means. Text in, `Match` out; no picture, no model.

Two kinds of evidence: what was read as the best guess, and each character's alternatives with
their probabilities. A card is taken only if it explains the reading well (`THRESHOLD`) and
clearly better than any other name (`MARGIN`); otherwise nothing is.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import log

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from millstream_apps.decklists.cards import COMMA, Card, CardTable
from millstream_apps.decklists.models import MatchType, Section
from millstream_apps.decklists.reading import NEGLIGIBLE, Glyph, Line

THRESHOLD = 85.0  # least score of a fuzzy match, 0-100
MARGIN = 0.5  # how many characters' worth of cost the second best name must be behind
UNCONFIRMED = 90.0  # score of a name without the subtitle that would confirm it
OTHER_SUBTITLE = 0.24  # a subtitle of which a larger share differs is another one
LOOK_ALIKE_COST = 0.35
READABLE = 0.6  # confidence from which a line counts as clearly read
SHORTLIST = 40

LOOK_ALIKES = (
    "0Oo〇", "1lI|", "x×X", "-一—–", "·・•.", "己已巳", "末未", "人入八", "土士", "日曰目",
    "大太犬", "干千于", "王玉主", "刀力刁", "刃刀", "天夭", "元无", "午牛", "贝见", "儿几",
    "住往佳", "侍待", "侯候", "晴睛", "晚挽", "抢枪", "折拆", "辨辩瓣", "炙灸", "崔催摧", "薇微徽",
    "嫣媽", "魄魂魁魅", "符苻", "暗喑", "决诀", "斗抖", "狐孤", "狸貍", "莱菜", "蔑薎", "瑟琴",
    "铁鉄", "拳券", "奥奧", "娜挪", "炽识", "兔免", "鸟乌", "厉历", "广厂", "戊戌戍", "密蜜",
    "爆瀑暴", "焰陷", "凛凜", "剑剣", "稀希", "沙砂", "漏屚", "驭驮", "镜境", "盾遁", "遂逐",
    "治冶", "洁沽", "凤风", "末来", "圣至", "拔拨", "浅线", "牌碑", "灵炅", "罗岁", "均钧",
)  # fmt: skip

SECTION_TYPES: dict[Section, frozenset[str]] = {
    "legend": frozenset({"Legend"}),
    "battlefields": frozenset({"Battlefield"}),
    "runes": frozenset({"Basic Rune"}),
}
SPECIAL_TYPES = frozenset().union(*SECTION_TYPES.values())


def allows(section: Section | None, card: Card) -> bool:
    """Whether a card of this type can stand in the section; None allows every type."""
    if section is None:
        return True
    types = SECTION_TYPES.get(section)
    return card.type_en in types if types else card.type_en not in SPECIAL_TYPES


@dataclass(frozen=True, slots=True)
class Match:
    """A card, why it was taken, and its name as printed on the screen. `score` is 0-100."""

    card: Card
    type: MatchType
    score: float
    printed: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A card against a reading; `cost` in characters, 0 for a perfect explanation."""

    card: Card
    type: MatchType
    cost: float
    length: int

    @property
    def score(self) -> float:
        return max(0.0, 100 * (1 - self.cost / max(1, self.length)))


@cache
def fold(text: str) -> str:
    """A text's letters alone: full-width forms narrowed, case, spaces and punctuation dropped."""
    narrow = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in narrow if unicodedata.category(c)[0] in "LN")


def plain_line(text: str) -> Line:
    """A text as a line that was read with full confidence and no alternatives."""
    return Line(text, 1.0, tuple(((character, 1.0),) for character in text))


def as_printed(lines: Sequence[Line]) -> str:
    """The lines' texts in the table's way of writing: name, comma, space, subtitle."""
    texts = (COMMA.sub(", ", line.text.strip()).strip() for line in lines)
    return ", ".join(text for text in texts if text)


@cache
def _twins(character: str) -> frozenset[str]:
    return frozenset("".join(group for group in LOOK_ALIKES if character in group))


def _letters(lines: Iterable[Line]) -> tuple[Glyph, ...]:
    """Each letter's alternatives, folded; punctuation is dropped as in `fold`."""
    glyphs = (glyph for line in lines for glyph in line.glyphs)
    folded = (tuple((fold(text), weight) for text, weight in glyph) for glyph in glyphs)
    return tuple(glyph for glyph in folded if glyph[0][0])


def substitution_cost(glyph: Glyph, character: str) -> float:
    """How far a read character is from a wanted one, 0 (is it) to 1 (surely another).

    The drop of the log-probability from the best reading to the wanted one, in units of the
    drop to NEGLIGIBLE; never more than the best reading's own probability, since a reading that
    is doubtful in itself contradicts little.
    """
    best, strength = glyph[0]
    if best == character:
        return 0.0
    wanted = max((weight for text, weight in glyph if text == character), default=NEGLIGIBLE)
    drop = log(strength / max(wanted, NEGLIGIBLE)) / log(1 / NEGLIGIBLE) if strength else 0.0
    cost = min(1.0, max(0.05, drop), strength)
    return min(cost, LOOK_ALIKE_COST) if character in _twins(best) else cost


def reading_cost(glyphs: Sequence[Glyph], name: str) -> float:
    """Edit distance of a reading to a folded name, with `substitution_cost`, in characters."""
    above = [float(at) for at in range(len(name) + 1)]
    for row, glyph in enumerate(glyphs, start=1):
        line = [float(row)]
        for at, character in enumerate(name):
            replaced = above[at] + substitution_cost(glyph, character)
            line.append(min(replaced, above[at + 1] + glyph[0][1], line[at] + 1))
        above = line
    return above[-1]


@dataclass(frozen=True)
class Matcher:
    """Matches readings against one table. Immutable; one for all threads."""

    table: CardTable
    _names: tuple[tuple[Card, str, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = tuple(
            (card, fold(card.parts[0]), fold(card.parts[1])) for card in self.table.by_name.values()
        )
        object.__setattr__(self, "_names", names)

    @cached_property
    def _families(self) -> dict[str, list[Card]]:
        """Folded base name -> the cards that differ in their subtitle alone."""
        families: dict[str, list[Card]] = {}
        for card, base, subtitle in self._names:
            if subtitle:
                families.setdefault(base, []).append(card)
        return families

    def match(self, lines: Sequence[Line], section: Section | None = None) -> Match | None:
        """The card that a box's lines mean, or None where that is not sure.

        lines: name, then subtitle where there is one. section: limits the type of card.
        """
        lines = [line for line in lines if fold(line.text)]
        if not lines:
            return None
        pool = [entry for entry in self._names if allows(section, entry[0])]
        printed = as_printed(lines)
        return self._exact(lines, printed, pool) or self._closest(lines, printed, pool)

    def match_text(self, text: str, section: Section | None = None) -> Match | None:
        """The same for plain text such as '瑟提, 铁拳', with no alternatives known."""
        parts = [part for part in COMMA.split(text.strip()) if part]
        return self.match([plain_line(part) for part in parts], section)

    def _exact(
        self, lines: Sequence[Line], printed: str, pool: Iterable[tuple[Card, str, str]]
    ) -> Match | None:
        key = fold(printed)
        found = [entry for entry in pool if entry[1] + entry[2] == key]
        if len(found) != 1:
            return None
        card, base, subtitle = found[0]
        # A subtitle that stands on its own line is the comma; without one the table's is missing.
        parted = [fold(part) for part in COMMA.split(printed)] == [base, subtitle]
        kind: MatchType = "comma_inserted" if subtitle and not parted else "exact_full"
        return Match(card, kind, 100.0, card.name_cn)

    def _closest(
        self, lines: Sequence[Line], printed: str, pool: Sequence[tuple[Card, str, str]]
    ) -> Match | None:
        candidates = [
            candidate
            for entry in self._shortlist(fold(printed), fold(lines[0].text), pool)
            for candidate in self._candidates(entry, lines)
        ]
        best: dict[str, _Candidate] = {}
        for candidate in sorted(candidates, key=lambda c: (-c.score, c.cost)):
            best.setdefault(candidate.card.name_cn, candidate)
        ranked = list(best.values())
        if not ranked or ranked[0].score < THRESHOLD:
            return None
        if len(ranked) > 1 and ranked[1].cost - ranked[0].cost < MARGIN:
            return None
        first = ranked[0]
        base_only = first.type in ("base_name", "fuzzy_base_name")
        score = min(first.score, UNCONFIRMED) if base_only else first.score
        name = self._printed_name(first.card, lines) if base_only else first.card.name_cn
        return Match(first.card, first.type, round(score, 1), name)

    def _shortlist(
        self, whole: str, base: str, pool: Sequence[tuple[Card, str, str]]
    ) -> list[tuple[Card, str, str]]:
        """The names nearest by plain edit distance; only they are compared at length."""
        keys = [entry[1] + entry[2] for entry in pool]
        bases = [entry[1] for entry in pool]
        near: dict[int, None] = {}
        for query, choices in ((whole, keys), (base, bases)):
            hits = process.extract(query, choices, scorer=Levenshtein.distance, limit=SHORTLIST)
            near.update((at, None) for _, _, at in hits)
        return [pool[at] for at in near]

    def _candidates(
        self, entry: tuple[Card, str, str], lines: Sequence[Line]
    ) -> Iterable[_Candidate]:
        card, base, subtitle = entry
        first, rest = _letters(lines[:1]), _letters(lines[1:])
        if subtitle and len(lines) > 1:
            apart = reading_cost(rest, subtitle)
            cost = reading_cost(first, base) + apart
            alike = apart <= OTHER_SUBTITLE * len(subtitle)
        else:
            cost, alike = reading_cost(first + rest, base + subtitle), True
        if alike:
            length = max(len(first + rest), len(base + subtitle))
            yield _Candidate(card, "fuzzy_full", cost, length)
        if self._base_may_do(card, base, subtitle, lines):
            cost = reading_cost(first, base)
            kind: MatchType = "base_name" if cost == 0 else "fuzzy_base_name"
            yield _Candidate(card, kind, cost, max(len(base), len(first)))

    def _base_may_do(self, card: Card, base: str, subtitle: str, lines: Sequence[Line]) -> bool:
        """Whether the first line alone may decide.

        A legend's may where the table knows no subtitles of it: the screen adds one to starter
        decks' legends. Without a readable subtitle, the only card of its family may. A subtitle
        clearly read that is another one: never.
        """
        family = self._families.get(base, [])
        read = [line for line in lines[1:] if line.confidence >= READABLE]
        if not subtitle:
            return len(lines) > 1 and not family and card.type_en == "Legend"
        return len(family) == 1 and not read and base not in self._plain_bases

    @cached_property
    def _plain_bases(self) -> frozenset[str]:
        return frozenset(base for _, base, subtitle in self._names if not subtitle)

    def _printed_name(self, card: Card, lines: Sequence[Line]) -> str:
        """The table's base name with the subtitle that the screen adds, if it was clearly read."""
        if card.parts[1]:
            return card.name_cn
        read = [line for line in lines[1:] if line.confidence >= READABLE]
        return ", ".join([card.name_cn, *(as_printed([line]) for line in read)])
