"""Sales by date as an inline SVG: a dot a sale, a line at the median, a band for the spread. Pure.

The drawing says everything in text too (title, axis labels), for those who cannot see it.
"""

from collections.abc import Sequence
from decimal import Decimal

from millstream_apps.appraise.catalogue import Sale
from millstream_apps.appraise.markup import Html, tag
from millstream_apps.appraise.models import Summary
from millstream_apps.appraise.prices import money

WIDTH, HEIGHT = 480, 190
LEFT, RIGHT, TOP, BOTTOM = 64, 468, 14, 158
MOST = 120
"""Dots drawn, the latest ones: more would be a smear."""


def chart(sales: Sequence[Sale], summary: Summary) -> Html:
    """The chart of sales in one currency, oldest first, and of what they sum up to."""
    scale = _Scale(sales[-MOST:], summary)
    return tag(
        "svg",
        tag("title", _words(summary)),
        _band(scale, summary),
        _axes(scale, summary),
        [_dot(scale, sale) for sale in sales[-MOST:]],
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
    )


class _Scale:
    """Prices and dates to places. The price axis begins at 0, so that heights can be compared."""

    def __init__(self, sales: Sequence[Sale], summary: Summary) -> None:
        days = [sale.date.toordinal() for sale in sales]
        self.first, self.last = min(days), max(days)
        self.top = max([summary.high, *(sale.price for sale in sales)]) * 11 / 10 or Decimal(1)

    def x(self, day: int) -> float:
        if self.first == self.last:
            return (LEFT + RIGHT) / 2
        return round(
            LEFT + 8 + (RIGHT - LEFT - 16) * (day - self.first) / (self.last - self.first), 1
        )

    def y(self, price: Decimal) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * float(price) / float(self.top), 1)


def _band(scale: _Scale, summary: Summary) -> list[Html]:
    high, low, middle = (scale.y(each) for each in (summary.high, summary.low, summary.median))
    return [
        tag(
            "rect",
            x=LEFT,
            y=high,
            width=RIGHT - LEFT,
            height=round(max(low - high, 1.0), 1),
            class_="band",
        ),
        tag("line", x1=LEFT, x2=RIGHT, y1=middle, y2=middle, class_="median"),
    ]


def _axes(scale: _Scale, summary: Summary) -> list[Html]:
    label = money(summary.median, summary.currency)
    parts = [
        tag("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis"),
        tag("text", "0", x=LEFT - 6, y=BOTTOM + 4, text_anchor="end"),
        tag("text", label.split()[0], x=LEFT - 6, y=scale.y(summary.median) + 4, text_anchor="end"),
        tag("text", summary.first.isoformat(), x=LEFT, y=BOTTOM + 20),
    ]
    if summary.last != summary.first:
        last = summary.last.isoformat()
        parts.append(tag("text", last, x=RIGHT, y=BOTTOM + 20, text_anchor="end"))
    return parts


def _dot(scale: _Scale, sale: Sale) -> Html:
    said = f"{sale.date.isoformat()}: {money(sale.price, sale.currency)}"
    place = {"cx": scale.x(sale.date.toordinal()), "cy": scale.y(sale.price), "r": 4}
    return tag("circle", tag("title", said), class_="sale", **place)


def _words(summary: Summary) -> str:
    return (
        f"{summary.count} sales from {summary.first} to {summary.last}: median "
        f"{money(summary.median, summary.currency)}, spread {summary.low} to {summary.high}"
    )
