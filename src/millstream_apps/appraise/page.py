"""The display page of one view: photo, matched reference, evidence with its numbers, prices. Pure.

A whole HTML document that needs nothing from outside: pictures are inside, there is no script, and
every word that came from elsewhere is escaped.
"""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from millstream_apps.appraise.chart import chart
from millstream_apps.appraise.markup import Html, clip, style, tag
from millstream_apps.appraise.models import Identified, Pictures, Pricing, Verdict
from millstream_apps.appraise.prices import money
from millstream_apps.appraise.recognition.models import Evidence, View

WORDS: Final = {
    "authentic": "Authentic",
    "not_authentic": "Not authentic",
    "undetermined": "No verdict",
}
TITLES: Final[dict[View, str]] = {"front": "Front", "back": "Back", "angled": "Angled view"}

CSS: Final = Path(__file__).with_name("display.css").read_text(encoding="utf-8")


def page(
    view: View,
    identified: Identified,
    verdict: Verdict,
    pictures: Pictures | None,
    pricing: Pricing | None,
) -> str:
    """The page of one view. Evidence is that of this view; prices stand on the front's alone."""
    evidence = [each for each in verdict.evidence if each.view == view]
    name = identified.card.name if identified.card else "Not identified"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{clip(name, 80)}: {TITLES[view].lower()}"),
        style(CSS),
    )
    body = tag(
        "main",
        _header(view, identified, verdict),
        _pictures(pictures, evidence, name),
        _evidence(evidence),
        _prices(pricing) if view == "front" else None,
    )
    return "<!doctype html>" + tag("html", head, tag("body", body), lang="en")


def _header(view: View, identified: Identified, verdict: Verdict) -> Html:
    card = identified.card
    about = " · ".join(filter(None, [card.series, card.edition])) if card else ""
    return tag(
        "header",
        tag("h1", card.name if card else "Not identified"),
        tag("p", f"{TITLES[view]}{f' · {about}' if about else ''}", class_="soft"),
        tag(
            "div",
            tag("span", WORDS[verdict.verdict], class_="word"),
            tag("span", _numbers(verdict), class_="soft"),
            class_=f"verdict {verdict.verdict}",
        ),
        tag("p", verdict.note, class_="soft") if verdict.note else None,
    )


def _numbers(verdict: Verdict) -> str:
    if verdict.authenticity_rating is None:
        return ""
    return f"rating {verdict.authenticity_rating:g} of 100, confidence {verdict.confidence:.0%}"


# --- pictures ------------------------------------------------------------------------------------


def _pictures(pictures: Pictures | None, evidence: Sequence[Evidence], name: str) -> Html:
    if pictures is None:
        return tag("section", tag("p", "The pictures could not be shown.", class_="soft"))
    shown = [tag("figure", _photo(pictures, evidence), tag("figcaption", "Your photo"))]
    if pictures.rectified is not None:
        shown.append(_figure(pictures.rectified, "The pin in it, laid straight"))
    if pictures.reference is not None:
        shown.append(_figure(pictures.reference, f"Reference: {clip(name, 80)}"))
    return tag("section", tag("div", shown, class_="pictures"))


def _figure(picture: bytes, caption: str) -> Html:
    image = tag("img", src=_data("webp", picture), alt=caption)
    return tag("figure", image, tag("figcaption", caption))


def _data(kind: str, picture: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def _photo(pictures: Pictures, evidence: Sequence[Evidence]) -> Html:
    """The photo with the found outline, and on it the number of each piece of evidence."""
    width, height = 400, max(1, round(400 * pictures.height / max(1, pictures.width)))
    corners = [(x * width, y * height) for x, y in pictures.outline]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    marks = [
        _mark(number, each, place)
        for (number, each), place in zip(
            enumerate(evidence, start=1), along(corners, len(evidence)), strict=False
        )
    ]
    return tag(
        "svg",
        tag("image", href=_data("jpeg", pictures.photo), width=width, height=height),
        tag("polygon", points=points, class_="outline") if corners else None,
        marks,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label="Your photo, with the pin's outline",
    )


def _mark(number: int, evidence: Evidence, place: tuple[float, float]) -> Html:
    x, y = place
    return tag(
        "g",
        tag("title", evidence.title),
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=15),
        tag("text", number, x=f"{x:.1f}", y=f"{y + 6:.1f}"),
        class_=f"mark {evidence.reading}",
    )


def along(corners: Sequence[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    """So many places at equal steps along a closed outline, by its sides; none without one."""
    if not corners:
        return []
    places = []
    for number in range(count):
        at = number * len(corners) / count
        side, part = int(at), at - int(at)
        (x0, y0), (x1, y1) = corners[side], corners[(side + 1) % len(corners)]
        places.append((x0 + (x1 - x0) * part, y0 + (y1 - y0) * part))
    return places


# --- evidence and prices -------------------------------------------------------------------------


def _evidence(evidence: Sequence[Evidence]) -> Html | None:
    if not evidence:
        return None
    heads = tag("tr", [tag("th", said) for said in ("", "Compared", "Measured", "Reading")])
    rows = [_row(number, each) for number, each in enumerate(evidence, start=1)]
    table = tag("table", tag("thead", heads), tag("tbody", rows))
    return tag("section", tag("h2", "Evidence"), tag("div", table, class_="wide"))


def _row(number: int, evidence: Evidence) -> Html:
    unit = f" {evidence.unit}" if evidence.unit else ""
    return tag(
        "tr",
        tag("td", tag("span", number, class_="number")),
        tag("td", evidence.title, tag("small", evidence.text)),
        tag(
            "td",
            f"{evidence.value:.4g}{unit}",
            tag("small", f"limit {evidence.threshold:.4g}"),
            class_="value",
        ),
        tag("td", evidence.reading, class_="reading"),
        class_=evidence.reading,
    )


def _prices(pricing: Pricing | None) -> Html:
    title = tag("h2", "Price")
    if pricing is None:
        return tag("section", title, tag("p", "The price could not be determined.", class_="soft"))
    if pricing.summary is None:
        return tag("section", title, Html(pricing.pricing))  # made by `fragments`
    summary = pricing.summary
    low, high = money(summary.low, summary.currency), money(summary.high, summary.currency)
    rows = [
        ("Median", money(summary.median, summary.currency)),
        ("Spread", f"{low} to {high}"),
        ("Sales", f"{summary.count}, the latest on {summary.last.isoformat()}"),
    ]
    listed = tag("dl", [[tag("dt", name), tag("dd", said)] for name, said in rows])
    return tag("section", title, listed, chart(pricing.sales, summary))
