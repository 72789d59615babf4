"""How good a document is, from 0 to 100; by a formula that anyone can check.

`quality = 0.4 × metadata + 0.6 × text`, each from 0 to 100; of a document that was asked for
without text, the metadata alone.

Metadata: title 25, description 20, byline 15, published 15, site name 10, language 10,
canonical address 5. Text: 100 × min(1, words / 250), less what links take of it beyond a third.
"""

from millstream_apps.extract.reading.models import Head

WEIGHTS = {
    "title": 25,
    "description": 20,
    "byline": 15,
    "published_iso": 15,
    "site_name": 10,
    "language": 10,
    "canonical": 5,
}
FULL_WORDS = 250
FREE_LINKS = 1 / 3
WORDS_PER_MINUTE = 225


def metadata_score(head: Head) -> int:
    """What a page says of itself, from 0 to 100."""
    return sum(weight for name, weight in WEIGHTS.items() if getattr(head, name))


def text_score(words: int, link_share: float) -> float:
    """How much text there is, from 0 to 100. `link_share`: the part of it that is links."""
    beyond = max(0.0, link_share - FREE_LINKS) / (1 - FREE_LINKS)
    return 100 * min(1.0, words / FULL_WORDS) * (1 - min(1.0, beyond))


def quality_score(head: Head, words: int, link_share: float, *, with_text: bool = True) -> int:
    """The document's score, from 0 to 100."""
    told = metadata_score(head)
    return round(0.4 * told + 0.6 * text_score(words, link_share)) if with_text else told


def reading_time(words: int) -> int | None:
    """Minutes at 225 words each, rounded up; None for no words."""
    return -(-words // WORDS_PER_MINUTE) or None
