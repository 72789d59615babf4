"""JSON-LD: what a page says of itself for machines (schema.org). Forgiving: pages get it wrong.

Reads text to values and picks fields; knows no markup.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

MOST_NODES = 200
MOST_DEPTH = 12


def parse(scripts: Iterable[str]) -> list[dict[str, Any]]:
    """The objects of some `application/ld+json` scripts, those in `@graph` and in lists spread
    out. What is no JSON is passed over."""
    found: list[dict[str, Any]] = []
    for script in scripts:
        try:
            value = json.loads(script.strip().rstrip(";"), strict=False)
        except (ValueError, RecursionError):
            continue
        found += _objects(value, 0)
    return found[:MOST_NODES]


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > MOST_DEPTH:
        return
    if isinstance(value, list):
        for each in value:
            yield from _objects(each, depth + 1)
    elif isinstance(value, dict):
        if isinstance(value.get("@graph"), list):
            yield from _objects(value["@graph"], depth + 1)
        else:
            yield value


def types(node: dict[str, Any]) -> list[str]:
    """A node's types, without the vocabulary's address."""
    said = node.get("@type")
    listed = said if isinstance(said, list) else [said]
    return [each.rsplit("/", 1)[-1] for each in listed if isinstance(each, str)]


def text(value: Any) -> str | None:
    """A value as one line of text: itself, or the name or value of an object."""
    if isinstance(value, dict):
        value = value.get("name") or value.get("@value") or value.get("url")
    if isinstance(value, list):
        return next((found for each in value if (found := text(each))), None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return " ".join(str(value).split()) or None


def texts(value: Any) -> list[str]:
    """A value as a list of texts; a comma-separated one is taken apart."""
    if isinstance(value, str):
        value = value.split(",")
    listed = value if isinstance(value, list) else [value]
    return [found for each in listed if (found := text(each))]


ARTICLES = ("Article", "Posting", "Report", "Recipe", "Review", "HowTo", "QAPage")


def article(nodes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The node that tells of an article; empty where there is none."""
    wanted = (n for n in nodes if any(name.endswith(ARTICLES) for name in types(n)))
    return next(wanted, {})


def events(nodes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events (schema.org/Event and its kinds) with what is said of each; absent: not said."""
    return [
        {name: value for name, value in _event(node).items() if value}
        for node in nodes
        if any(name.endswith("Event") for name in types(node))
    ]


def _event(node: dict[str, Any]) -> dict[str, Any]:
    offers = node.get("offers")
    offer = offers[0] if isinstance(offers, list) and offers else offers
    offer = offer if isinstance(offer, dict) else {}
    place = node.get("location")
    return {
        "type": next(iter(types(node)), "Event"),
        "name": text(node.get("name")),
        "description": text(node.get("description")),
        "start": text(node.get("startDate")),
        "end": text(node.get("endDate")),
        "status": _last(node.get("eventStatus")),
        "attendance": _last(node.get("eventAttendanceMode")),
        "location": text(place),
        "address": _address(place),
        "organizer": text(node.get("organizer")),
        "performers": _names(node.get("performer")),
        "price": text(offer.get("price")),
        "currency": text(offer.get("priceCurrency")),
        "url": text(node.get("url")),
        "image": text(node.get("image")),
    }


def _names(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [found for each in listed if (found := text(each))]


def _last(value: Any) -> str | None:
    said = text(value)
    return said.rsplit("/", 1)[-1] if said else None


def _address(place: Any) -> str | None:
    where = place.get("address") if isinstance(place, dict) else None
    if not isinstance(where, dict):
        return text(where)
    names = ("streetAddress", "addressLocality", "addressRegion", "postalCode", "addressCountry")
    return ", ".join(found for name in names if (found := text(where.get(name)))) or None
