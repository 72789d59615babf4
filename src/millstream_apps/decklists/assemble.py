"""From what was read to the response: sections, repetitions, sums, header. Pure text work."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import NAMESPACE_URL, uuid5

from rapidfuzz import fuzz

from millstream_apps.decklists.cards import Card, CardTable
from millstream_apps.decklists.matching import Match, Matcher, allows, as_printed, reading_cost
from millstream_apps.decklists.models import (
    SECTIONS,
    CardEntry,
    DecklistResponse,
    Metadata,
    Section,
    Stats,
    UnmatchedEntry,
)
from millstream_apps.decklists.reading import Line
from millstream_apps.decklists.scan import Cell, Scan, ScanRow

HEADINGS: dict[str, Section] = {
    "传奇牌": "legend",
    "主牌组": "main_deck",
    "战场牌": "battlefields",
    "符文牌": "runes",
    "备牌": "side_deck",
}
NATURAL: dict[str, Section] = {
    "Legend": "legend",
    "Battlefield": "battlefields",
    "Basic Rune": "runes",
}
MOST_COPIES = 12
# The model reads a full-width parenthesis, which brings its own gap, as a space and a narrow one.
WIDE_PARENTHESES = re.compile(r"(?<=[\u3400-\u9fff]) \(([^()]*)\)")
DATE = re.compile(r"(\d{4})\s*[-./年]\s*(\d{1,2})\s*[-./月]\s*(\d{1,2})\s*日?")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One box, matched or not. `sure` is False where what was read is not all there was."""

    name: str
    match: Match | None
    quantity: int
    section: Section
    sure: bool = True

    @property
    def card(self) -> Card | None:
        return self.match.card if self.match and self.sure else None


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of boxes. `inferred`: no heading in the picture leads to its section."""

    entries: tuple[_Entry, ...]
    section: Section
    inferred: bool


def assemble(scan: Scan, table: CardTable | Matcher) -> DecklistResponse:
    """The decklist that a scan shows, by the cards of a table.

    A `Matcher` in place of a table spares preparing the table again for every scan. The same
    scan and table always give the same response. Never raises for what a scan may hold: what
    cannot be told for sure is in `unmatched`, fields not shown are None.
    """
    matcher = table if isinstance(table, Matcher) else Matcher(table)
    rows = _without_repetitions(_rows(scan.rows, matcher))
    entries = _merge_runes([entry for row in rows for entry in row.entries])
    lists = {name: [_card_entry(e) for e in entries if e.card and e.section == name]
             for name in SECTIONS}  # fmt: skip
    legend = lists["legend"][0].name_en if lists["legend"] else None
    return DecklistResponse(
        decklist_id=uuid5(NAMESPACE_URL, f"sha256:{scan.sha256}"),
        metadata=_metadata(scan, legend),
        **lists,
        stats=_stats(entries),
        unmatched=[_unmatched_entry(entry) for entry in entries if not entry.card],
    )


def section_of(heading: Line) -> Section | None:
    """The section that a heading names, allowing for one misread character."""
    costs = sorted((reading_cost(heading.glyphs, text), text) for text in HEADINGS)
    (best, text), (second, _) = costs[:2]
    return HEADINGS[text] if best <= 1.0 and second - best >= 0.5 else None


def _rows(rows: Sequence[ScanRow], matcher: Matcher) -> list[_Row]:
    """Each row's section: its heading's; or the row's before it, where that can be."""
    found: list[_Row] = []
    current: Section | None = None
    inferred = True
    for run in _runs(rows):
        named = section_of(run[0].heading) if run[0].heading else None
        # Seams between two runs below their headings leave both to inference.
        inferred = named is None
        current = named or _natural_section(run, matcher, current) or current or "main_deck"
        for at, row in enumerate(run):
            if at and _is_foreign(row, matcher, current):
                # A seam that happens to keep the usual distance.
                inferred, current = True, _natural_section(run[at:], matcher, current) or current
            entries = tuple(_entry(cell, current, matcher) for cell in row.cells)
            found.append(_Row(entries, current, inferred))
    return found


def _runs(rows: Sequence[ScanRow]) -> list[list[ScanRow]]:
    """Rows that surely stand in one section together."""
    runs: list[list[ScanRow]] = []
    for row in rows:
        if runs and row.follows and row.heading is None:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def _is_foreign(row: ScanRow, matcher: Matcher, section: Section) -> bool:
    """Whether all that a row shows are surely cards that cannot be in the section."""
    matches = [matcher.match(cell.lines) for cell in row.cells]
    return all(match and not allows(section, match.card) for match in matches)


def _natural_section(
    run: Sequence[ScanRow], matcher: Matcher, current: Section | None
) -> Section | None:
    """Without a heading (cut off, or lost at a seam) the cards' own types have the say.

    They stay in the section that came before if all of them can be in it.
    """
    cells = (cell for row in run for cell in row.cells if cell.whole_name)
    cards = [match.card for match in map(matcher.match, (cell.lines for cell in cells)) if match]
    if current and all(allows(current, card) for card in cards):
        return current
    foreign = (card for card in cards if not (current and allows(current, card)))
    return next((NATURAL.get(card.type_en, "main_deck") for card in foreign), None)


def _entry(cell: Cell, section: Section, matcher: Matcher) -> _Entry:
    return _Entry(
        name=as_printed(cell.lines),
        match=matcher.match(cell.lines, section),
        quantity=(cell.whole_quantity and cell.quantity) or 1,
        section=section,
        sure=cell.whole_name and cell.whole_quantity and cell.quantity is not None,
    )


def _same(one: _Entry, other: _Entry) -> bool:
    """Whether two boxes show the same; a cut box is compared by what of it was read."""
    if one.sure and other.sure and one.quantity != other.quantity:
        return False
    if one.match and other.match:
        return one.match.card == other.match.card
    if not one.sure or not other.sure:
        return not one.name or not other.name or fuzz.partial_ratio(one.name, other.name) >= 60
    return fuzz.ratio(one.name, other.name) >= 70


def _same_row(one: _Row, other: _Row) -> bool:
    # A run that starts below its heading was put in whatever section came before it.
    together = one.section == other.section or one.inferred or other.inferred
    alike = len(one.entries) == len(other.entries)
    return together and alike and all(map(_same, one.entries, other.entries))


def _without_repetitions(rows: list[_Row]) -> list[_Row]:
    """Rows that a picture stitched together shows twice, once.

    An overlap is a run of rows directly followed by the same run. Of two copies of a row, the
    one that is whole stays. Two equal boxes within such a run, or in rows that differ, are two.
    """
    at = 1
    while at < len(rows):
        size = next((n for n in range(min(at, len(rows) - at), 0, -1) if _repeats(rows, at, n)), 0)
        if size:
            first, second = rows[at - size : at], rows[at : at + size]
            rows = rows[: at - size] + list(map(_better, first, second)) + rows[at + size :]
            at = max(1, at - size)
        else:
            at += 1
    return [row for row in rows if any(entry.sure or entry.name for entry in row.entries)]


def _repeats(rows: Sequence[_Row], at: int, size: int) -> bool:
    first, second = rows[at - size : at], rows[at : at + size]
    return all(map(_same_row, first, second))


def _better(first: _Row, second: _Row) -> _Row:
    entries = tuple(
        two if two.sure and two.match and not (one.sure and one.match) else one
        for one, two in zip(first.entries, second.entries, strict=True)
    )
    return replace(first, entries=entries)


def _merge_runes(entries: Iterable[_Entry]) -> list[_Entry]:
    """One entry for a rune shown with several pictures (1 + 6 = 7). Other sections keep theirs."""
    merged: list[_Entry] = []
    for entry in entries:
        at = next((i for i, other in enumerate(merged) if _same_rune(other, entry)), None)
        if at is None:
            merged.append(entry)
        else:
            merged[at] = replace(merged[at], quantity=merged[at].quantity + entry.quantity)
    return merged


def _same_rune(one: _Entry, other: _Entry) -> bool:
    return (
        one.section == other.section == "runes"
        and one.card is not None
        and one.card == other.card
        and one.quantity + other.quantity <= MOST_COPIES
    )


def _card_entry(entry: _Entry) -> CardEntry:
    match = entry.match
    assert match is not None, "only matched boxes are made card entries"
    card = match.card
    return CardEntry(
        name_cn=match.printed,
        quantity=entry.quantity,
        name_en=card.name_en,
        card_number=card.card_number,
        type_en=card.type_en,
        domain_en=card.domain_en,
        cost=card.cost,
        rarity_en=card.rarity_en,
        image_url_en=card.image_url_en,
        match_score=match.score,
        match_type=match.type,
    )


def _unmatched_entry(entry: _Entry) -> UnmatchedEntry:
    return UnmatchedEntry(name_cn=entry.name, section=entry.section, quantity=entry.quantity)


def _stats(entries: Sequence[_Entry]) -> Stats:
    total = sum(entry.quantity for entry in entries)
    matched = sum(entry.quantity for entry in entries if entry.card)
    accuracy = round(100 * matched / total, 2) if total else 0.0
    return Stats(total_cards=total, matched_cards=matched, accuracy=accuracy)


def _metadata(scan: Scan, legend_name_en: str | None) -> Metadata:
    details = [line.text.strip() for line in scan.details]
    dated = next((_date(text) for text in reversed(details) if _date(text)), None)
    event = join_lines(DATE.sub("", text).strip(" |") for text in details)
    return Metadata(
        player=_field(scan.player),
        deck_name=_field(scan.title),
        placement=scan.rank,
        event=event or None,
        date=dated,
        legend_name_en=legend_name_en,
    )


def _field(lines: Sequence[Line]) -> str | None:
    return join_lines(line.text for line in lines) or None


def join_lines(texts: Iterable[str]) -> str:
    """Lines of one wrapped text as one; a space only between two words of Latin letters."""
    whole = ""
    for text in filter(None, map(str.strip, texts)):
        words = whole[-1:].isascii() and whole[-1:].isalnum() and text[0].isascii()
        whole += (" " if words and text[0].isalnum() else "") + text
    return WIDE_PARENTHESES.sub(r"（\1）", whole)


def _date(text: str) -> str | None:
    found = DATE.search(text)
    if not found:
        return None
    year, month, day = map(int, found.groups())
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None
