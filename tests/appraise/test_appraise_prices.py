"""A price is what the sales say: median, quartiles, one currency; without sales there is none."""

import datetime
from decimal import Decimal
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from millstream_apps.appraise.catalogue import Sale
from millstream_apps.appraise.chart import HEIGHT, WIDTH, chart
from millstream_apps.appraise.fragments import pricing
from millstream_apps.appraise.prices import comparable, money, summarise
from tests.appraise.test_appraise_markup import Reader, runs_nothing

prices = st.decimals("0", "100000", places=2, allow_nan=False)
dates = st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 1, 1))
sales = st.lists(
    st.builds(Sale, prices, st.sampled_from(["USD", "EUR", "JPY"]), dates, st.text(max_size=20)),
    max_size=40,
)


@given(sales)
def test_only_one_currency_counts_and_it_is_the_one_of_most_sales(found):
    chosen = comparable(found)
    currencies = [sale.currency for sale in found]
    assert len({sale.currency for sale in chosen}) == (1 if found else 0)
    assert len(chosen) == max((currencies.count(each) for each in currencies), default=0)
    assert [sale.date for sale in chosen] == sorted(sale.date for sale in chosen)


@given(sales)
def test_the_summary_is_of_these_sales(found):
    chosen = comparable(found)
    summary = summarise(chosen)
    if not chosen:
        assert summary is None
        return
    assert summary is not None
    values = sorted(sale.price for sale in chosen)
    assert abs(summary.median - median(values)) <= Decimal("0.005")
    assert values[0] - 1 <= summary.low <= summary.median <= summary.high <= values[-1] + 1
    assert summary.count == len(chosen)
    assert (summary.first, summary.last) == (chosen[0].date, chosen[-1].date)


def test_quartiles_by_hand():
    day = datetime.date(2026, 1, 1)
    found = [Sale(Decimal(price), "USD", day, "") for price in (10, 20, 30, 40, 1000)]
    summary = summarise(found)
    assert summary is not None
    assert (summary.low, summary.median, summary.high) == (20, 30, 40)
    assert money(Decimal("1234.5"), "USD") == "1,234.50 USD"


@given(sales)
def test_the_chart_holds_every_sale_inside_its_frame(found):
    chosen = comparable(found)
    summary = summarise(chosen)
    if summary is None:
        assert "no sales" in pricing(summary, chosen)
        return
    html = chart(chosen, summary)
    seen = runs_nothing(html)
    assert seen.elements.count("circle") == len(chosen)
    for name, value in seen.attributes:
        if name in ("cx", "x1", "x2", "x"):
            assert 0 <= float(value) <= WIDTH
        if name in ("cy", "y1", "y2", "y"):
            assert 0 <= float(value) <= HEIGHT
    told = Reader(pricing(summary, chosen)).said
    assert money(summary.median, summary.currency) in told
    assert str(summary.count) in told
