"""The page of live flows, in a real browser against a real server: what it shows is what flows."""

from collections.abc import Iterator

import pytest

from tests.page import browser
from tests.page.browser import Browser, Page
from tests.page.conftest import Server, serving


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browser.executable() is None:
        pytest.skip("no Chromium on PATH (or in CHROMIUM): the page is not tested")
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving("millstream_apps.nodeflow:app", tmp_path_factory.mktemp("flows")) as found:
        yield found


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    with chromium.page() as found:
        found.size(1400, 1000)
        found.go(f"{server.url}assets/flows.html")
        found.wait("Boolean(globalThis.nodeflow)")
        yield found
        assert found.complaints() == []
        assert found.hosts() <= {"127.0.0.1"}


RUNNING = ".flow-node[data-state=running]"


def node(name: str) -> str:
    return f"""document.querySelector('.flow-node[aria-label^="{name},"]')"""


def start(page: Page, id: str) -> None:
    """Start the example under a name of its own."""
    given = "document.getElementById('document')"
    page.evaluate(f"{given}.value = {given}.value.replace('\"boilers\"', '\"{id}\"')")
    page.click("#start button")
    page.wait(f"document.querySelectorAll('{RUNNING}').length === 10")


def test_a_flow_is_started_and_its_widgets_get_everything(page: Page) -> None:
    start(page, "one")
    widget = "nodeflow.card.widgets.get('curve')"
    page.wait(f"{widget}.items > 2000")
    assert page.evaluate(f"{widget}.faults") == 0
    points = page.evaluate(f"{widget}.points.map(([time, {{ value }}]) => [time, value])")
    times = [time for time, _ in points]
    assert times == sorted(times)
    assert all(20 < value < 120 for _, value in points)
    ink = f"""(() => {{ const c = {widget}.canvas; const d = c.getContext('2d')
        .getImageData(45, 0, c.width - 60, c.height - 20).data;
        let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }})()"""
    assert page.evaluate(ink) > 300  # a line is drawn
    page.wait("document.querySelectorAll('[aria-label^=Boiler] tbody tr').length >= 2")
    page.wait("document.querySelector('.log-lines li')")
    rates = page.evaluate(
        "[...document.querySelectorAll('.flow-graph > text')].map(t => t.textContent)"
    )
    assert len(rates) == 8
    assert any(rate.startswith(("4", "5")) and rate.endswith("/s") for rate in rates)
    page.click(".danger")
    page.wait("document.querySelector('.run .state').textContent === 'cancelled'")


def test_a_node_is_paused_and_configured_from_the_page(page: Page) -> None:
    start(page, "two")
    page.evaluate(f"{node('heat')}.dispatchEvent(new Event('click'))")
    page.click(".flow-actions button:first-child")
    page.wait(f"{node('heat')}.dataset.state === 'paused'")
    assert page.evaluate(f"{node('curve')}.dataset.state") == "running"
    page.click(".flow-actions button:nth-child(2)")
    page.wait(f"{node('heat')}.dataset.state === 'running'")
    page.evaluate("document.querySelector('.flow-panel textarea').value = '{\"warning\": \"x\"}'")
    page.expected.append("422")
    page.click(".flow-panel .primary")
    page.wait("document.querySelector('.run .fault').textContent.includes('warning')")
    page.evaluate("document.querySelector('.flow-panel textarea').value = '{\"warning\": 1}'")
    page.click(".flow-panel .primary")
    page.wait(
        "[...document.querySelectorAll('.log-lines li')].some(l => /alert: /.test(l.textContent))"
    )


def test_what_is_wrong_with_a_flow_is_shown_with_its_place(page: Page) -> None:
    nodes, edges = '[{"id": "a", "type": "sin"}]', '[{"source": "a", "target": "b"}]'
    document = f'{{"id": "bad", "nodes": {nodes}, "edges": {edges}}}'
    page.evaluate(f"document.getElementById('document').value = '{document}'")
    page.expected.append("422")
    page.click("#start button")
    page.wait("document.querySelectorAll('#faults li').length === 2")
    assert "nodes[0].type" in page.text("#faults")
    assert "did you mean 'sine'" in page.text("#faults")


def test_the_ordinary_page_leads_to_a_flows_own(page: Page, server: Server) -> None:
    start(page, "three")
    run = page.evaluate("nodeflow.card.run")
    page.go(f"{server.url}#run={run}")
    page.wait("document.querySelector('.result a')?.href.includes('flows.html#flow=')")
    page.click(".result a")
    page.wait(f"globalThis.nodeflow?.card?.run === '{run}' && document.querySelector('{RUNNING}')")
