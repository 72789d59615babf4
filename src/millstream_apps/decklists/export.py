"""A decklist as text that other tools take: plain lines, or CSV."""

import csv
import io
import re

from fastapi import Response
from fastapi.responses import PlainTextResponse

from millstream_apps.decklists.models import SECTIONS, CardEntry, DecklistResponse, Section

HEADINGS: dict[Section, str] = {
    "legend": "Legend",
    "main_deck": "Main Deck",
    "battlefields": "Battlefields",
    "runes": "Runes",
    "side_deck": "Side Deck",
}
CSV_COLUMNS = ("Card ID", "Normal", "Foil")
LINE = re.compile(r"(?P<quantity>\d+) (?P<name>\S.*)")


def to_text(decklist: DecklistResponse) -> str:
    """A heading per section that has cards, below it `3 Card Name` lines (English names).

    Boxes that were not matched follow under `# Unmatched`, so that nothing is lost unseen.
    """
    blocks = [
        "\n".join([f"{HEADINGS[name]}:", *map(_line, decklist.section(name))])
        for name in SECTIONS
        if decklist.section(name)
    ]
    if decklist.unmatched:
        lines = (f"# {entry.quantity} {entry.name_cn}".rstrip() for entry in decklist.unmatched)
        blocks.append("\n".join(["# Unmatched:", *lines]))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _line(entry: CardEntry) -> str:
    return f"{entry.quantity} {entry.name_en}"


def parse_text(text: str) -> dict[Section, list[tuple[int, str]]]:
    """The inverse of `to_text`: section -> (quantity, English name); `#` lines are skipped.

    Raises ValueError naming the line that is neither a heading nor a card.
    """
    sections: dict[str, Section] = {heading: name for name, heading in HEADINGS.items()}
    found: dict[Section, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        card = LINE.fullmatch(line)
        if line.rstrip(":") in sections:
            current = found.setdefault(sections[line.rstrip(":")], [])
        elif card and current is not None:
            current.append((int(card["quantity"]), card["name"]))
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"line {number} is neither a heading nor '3 Card Name': {line!r}")
    return found


def to_csv(decklist: DecklistResponse) -> str:
    """`Card ID,Normal,Foil`: one line per printing, copies of all sections added up.

    The card ID is the printing's number as in the table (`OGN·126/298`). A screenshot does not
    tell foils, so all copies count as normal. Lines end with LF.
    """
    copies: dict[str, int] = {}
    for name in SECTIONS:
        for entry in decklist.section(name):
            copies[entry.card_number] = copies.get(entry.card_number, 0) + entry.quantity
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows((number, quantity, 0) for number, quantity in copies.items())
    return out.getvalue()


def exported(decklist: DecklistResponse, format: str) -> Response:
    """A response: the decklist as `text`, `csv` or `json`."""
    if format == "text":
        return PlainTextResponse(to_text(decklist))
    if format == "csv":
        return PlainTextResponse(to_csv(decklist), media_type="text/csv")
    return Response(decklist.model_dump_json(), media_type="application/json")
