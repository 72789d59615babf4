"""Comparable sales -> a price with its spread. Pure; knows no catalogue and no HTML.

The middle is the median, the spread the quartiles (inclusive method: the sample's own least and
most are its 0th and 100th percentile), which one odd sale does not move.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from statistics import median, quantiles

from millstream_apps.appraise.catalogue import Sale
from millstream_apps.appraise.models import Summary

QUARTILES_FROM = 4
CENT = Decimal("0.01")


def comparable(sales: Sequence[Sale]) -> tuple[Sale, ...]:
    """The sales in the currency that most of them are in (of equals: that of the latest), oldest
    first. Sums in different currencies are never mixed."""
    if not sales:
        return ()
    ordered = sorted(sales, key=lambda sale: sale.date)
    counts = Counter(sale.currency for sale in ordered)
    latest = {sale.currency: at for at, sale in enumerate(ordered)}
    chosen = max(counts, key=lambda currency: (counts[currency], latest[currency]))
    return tuple(sale for sale in ordered if sale.currency == chosen)


def summarise(sales: Sequence[Sale]) -> Summary | None:
    """Median, spread, count and dates of sales in one currency; None where there are none."""
    if not sales:
        return None
    prices = [sale.price for sale in sales]
    if len(prices) >= QUARTILES_FROM:
        low, _, high = quantiles(prices, n=4, method="inclusive")
    else:
        low, high = min(prices), max(prices)
    dates = [sale.date for sale in sales]
    return Summary(
        currency=sales[0].currency,
        count=len(prices),
        median=_cents(median(prices)),
        low=_cents(low),
        high=_cents(high),
        first=min(dates),
        last=max(dates),
    )


def money(amount: Decimal, currency: str) -> str:
    """`1,234.50 USD`."""
    return f"{_cents(amount):,} {currency}"


def _cents(amount: Decimal) -> Decimal:
    return Decimal(amount).quantize(CENT)
