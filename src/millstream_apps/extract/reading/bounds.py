"""What a page may ask of its readers. Parsing takes time with the square of a page's depth, and
finding an article with the square of its elements: pages made to take hours are known beforehand.
"""

import re
from itertools import accumulate

MOST_TAGS = 50_000
MOST_DEPTH = 1500
CERTAIN = 3000
"""A page with no more tags than this is not looked at closer: it cannot cost much."""

_TAG = re.compile(
    r"<(/?)(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr"
    r"|p|li|dt|dd|option|tr|td|th)\b)[a-z]",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^<>]*>", re.DOTALL | re.I)


def parses_well(html: str) -> bool:
    """Whether a page can be parsed in good time. An estimate of its depth, from above for pages
    that close what they open."""
    if html.count("<") <= CERTAIN:
        return True
    steps = (-1 if closing else 1 for closing in _TAG.findall(html))
    depths = accumulate(steps, lambda depth, step: max(0, depth + step), initial=0)
    return max(depths) <= MOST_DEPTH


def is_simple(html: str) -> bool:
    """Whether the article of a page that parses well can be looked for in good time."""
    return html.count("<") <= MOST_TAGS


def bare_text(html: str) -> str:
    """The text of a page that is not parsed."""
    return _ANY_TAG.sub(" ", html)
