"""The gate: how much effort a page needs. Pure decisions on measured signals; acts nowhere."""

from millstream_apps.extract.reading.models import Effort, Signals

ENOUGH_PROSE, ENOUGH_PARAGRAPHS = 1500, 5
SHORT = 250
"""Characters of an article below which another way of finding it is worth a try."""


def score(signals: Signals) -> float:
    """How sure it is that the page as it came holds what a reader would see; from 0 to 1.

    0.40 × prose (full at 1,500 characters) + 0.15 × paragraphs (full at 5) + 0.15 where an
    article or main part is marked + 0.15 where the page describes itself + 0.15 × the part of the
    text that is not links; all of it × 0.3 where a script framework's mount point stands on a
    page with hardly any text.
    """
    if not signals.text:
        return 0.0
    total = (
        0.40 * min(1.0, signals.prose / ENOUGH_PROSE)
        + 0.15 * min(1.0, signals.paragraphs / ENOUGH_PARAGRAPHS)
        + 0.15 * signals.marked
        + 0.15 * signals.described
        + 0.15 * (1 - signals.links / signals.text)
    )
    return total * 0.3 if signals.shell and signals.prose < SHORT else total


def decide(signals: Signals, *, high: float, low: float) -> Effort:
    """`raw`: one way of finding the article will do. `probes_first`: try several, take the best.
    `headless`: the text is probably made by scripts. A page without scripts has nothing more to
    show, so it never needs a browser."""
    found = score(signals)
    if found >= high:
        return "raw"
    return "probes_first" if found >= low or not signals.scripts else "headless"


def is_prose(signals: Signals) -> bool:
    """Whether a page's text stands in paragraphs. Where it does not, a quick way of finding the
    article that found the wrong thing would not be noticed."""
    return signals.prose >= 0.3 * signals.text


def suffices(length: int, signals: Signals) -> bool:
    """Whether an article of so many characters has most of what stands in paragraphs."""
    return length >= SHORT and length >= 0.5 * signals.prose


def falls_short(length: int, signals: Signals) -> bool:
    """Whether an article of so many characters leaves out much of what stands in paragraphs."""
    return length < SHORT or length < 0.25 * signals.prose


def best(lengths: dict[str, int], signals: Signals) -> str:
    """Which attempt's text is taken, of attempts in the order of their precision: the first that
    does not fall short; else the longest. Empty where none has any text."""
    for way, length in lengths.items():
        if length and not falls_short(length, signals):
            return way
    way = max(lengths, key=lambda each: lengths[each], default="")
    return way if lengths.get(way) else ""
