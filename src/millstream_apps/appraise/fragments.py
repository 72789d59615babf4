"""The small pieces of HTML that stand in packets: identification, price, details. Pure.

Each is complete without pictures and style sheets, and short: a packet has less than 8 KB. They
are published, so they are plain `str`: whatever stood in them was escaped before.
"""

from collections.abc import Sequence

from millstream_apps.appraise.catalogue import Sale
from millstream_apps.appraise.markup import Html, clip, join, tag
from millstream_apps.appraise.models import Identified, Summary
from millstream_apps.appraise.prices import money
from millstream_apps.appraise.recognition.models import Candidate, Geometry, Match

NAME_LENGTH = 80
CANDIDATES = 5
SALES = 6


def identification(identified: Identified) -> str:
    """Which pin it is, and who is on it; or why that cannot be said."""
    card, found = identified.card, identified.found
    if card is None or not isinstance(found, Match):
        return _not_identified(identified)
    rows = [
        ("Pin", clip(card.name, NAME_LENGTH)),
        ("Characters", clip(", ".join(card.characters), 3 * NAME_LENGTH) or "none recorded"),
        ("Certainty", f"{found.score:.1%}"),
    ]
    return str(tag("div", _list(rows), class_="identification"))


def _not_identified(identified: Identified) -> str:
    abstention = identified.abstention
    why = abstention.message if abstention is not None else "the reference is gone"
    nearest = _candidates(identified) if abstention is not None else None
    said = tag("p", tag("strong", "Not identified."), " ", clip(why, 4 * NAME_LENGTH))
    return str(tag("div", said, nearest, class_="identification undetermined"))


def characters(identified: Identified) -> str:
    """Who is on the pin, separated by commas; empty where that is not known."""
    card = identified.card
    return "" if card is None else clip(", ".join(card.characters), 400)


def pricing(summary: Summary | None, sales: Sequence[Sale]) -> str:
    """Median, spread, count and dates, and the latest sales; or that there are none."""
    if summary is None:
        said = "No price: the catalogue has no sales of this pin to compare with."
        return str(tag("p", said, class_="pricing undetermined"))
    currency = summary.currency
    spread = "Middle half" if summary.count >= 4 else "Least to most"
    rows = [
        ("Median price", money(summary.median, currency)),
        (spread, f"{money(summary.low, currency)} to {money(summary.high, currency)}"),
        ("Comparable sales", str(summary.count)),
        ("Dates", f"{summary.first.isoformat()} to {summary.last.isoformat()}"),
    ]
    latest = [_sale(sale) for sale in reversed(sales[-SALES:])]
    head = tag("tr", tag("th", "Date"), tag("th", "Price"), tag("th", "Source"))
    return str(tag("div", _list(rows), tag("table", head, latest), class_="pricing"))


def no_pricing(why: str) -> str:
    """That there is no price, as there is no pin to ask for."""
    said = f"No price: {clip(why, 4 * NAME_LENGTH)}"
    return str(tag("p", said, class_="pricing undetermined"))


def _sale(sale: Sale) -> Html:
    cells = (sale.date.isoformat(), money(sale.price, sale.currency), clip(sale.source, 40))
    return tag("tr", [tag("td", cell) for cell in cells])


def details(identified: Identified) -> str:
    """The reference as the catalogue has it, how it was found, and what came near it."""
    card, found = identified.card, identified.found
    if card is None or not isinstance(found, Match):
        return _not_identified(identified)
    rows = [
        ("Name", clip(card.name, NAME_LENGTH)),
        ("Series", clip(card.series, NAME_LENGTH) or "none recorded"),
        ("Edition", clip(card.edition, NAME_LENGTH) or "none recorded"),
        ("Catalogue number", clip(card.id, NAME_LENGTH)),
        *[(f"{each.view.capitalize()} photo", _found(each)) for each in found.geometry],
    ]
    notes = tag("p", clip(card.notes, 600)) if card.notes else None
    return str(tag("div", _list(rows), notes, _candidates(identified), class_="details"))


def _found(geometry: Geometry) -> str:
    return (
        f"{geometry.inliers} matching points, turned {geometry.rotation:.0f}°, "
        f"tilted {geometry.tilt:.0f}°"
    )


def _candidates(identified: Identified) -> Html | None:
    others = [each for each in identified.found.candidates if not _is_match(identified, each)]
    if not others:
        return None
    items = [
        tag(
            "li",
            f"{clip(identified.names.get(each.reference, each.reference), NAME_LENGTH)}: "
            f"{each.score:.1%}, {each.inliers} matching points",
        )
        for each in others[:CANDIDATES]
    ]
    return tag("div", tag("p", "Also compared with:"), tag("ol", items), class_="candidates")


def _is_match(identified: Identified, candidate: Candidate) -> bool:
    found = identified.found
    return isinstance(found, Match) and found.reference == candidate.reference


def failure(part: str, why: str) -> str:
    """That a part has no answer, in its place."""
    return str(tag("p", f"{part} could not be determined: {clip(why, 400)}", class_="failed"))


def elsewhere(url: str, title: str) -> str:
    """A page in its place: framed where the reader frames pages, a link in any case."""
    frame = tag(
        "iframe",
        src=url,
        title=title,
        sandbox="",
        loading="lazy",
        style="width:100%;height:100vh;border:0",
    )
    return str(join([frame, tag("p", tag("a", "Open the page by itself", href=url))]))


def _list(rows: Sequence[tuple[str, str]]) -> Html:
    return tag("dl", [[tag("dt", name), tag("dd", said)] for name, said in rows])
