"""The built-in page, in a real browser: paste URLs, and see documents stream in."""

from collections.abc import Iterator

import pytest

from tests.extract.local_site import LocalSite
from tests.page import browser
from tests.page.browser import Page


@pytest.fixture
def page() -> Iterator[Page]:
    if browser.executable() is None:
        pytest.skip("no Chromium on PATH (or in CHROMIUM): the page is not tested")
    with browser.chromium() as found, found.page() as tab:
        tab.size(1280, 900)
        yield tab
        assert tab.complaints() == []
        assert tab.hosts() <= {"127.0.0.1"}


def test_pasted_urls_become_documents(page: Page, address: str, site: LocalSite) -> None:
    site.shut()
    page.go(f"{address}/")
    page.click("label[for$=crawl], #pipeline-crawl + label")
    urls = [site.page("shown"), f"{site.url}/missing", site.gated("shown")]
    page.fill("textarea", "\n".join(urls))
    page.click("button.primary")
    page.wait("document.querySelector('.doc h4')?.textContent === 'Page shown'")
    page.wait("document.querySelector('.page-failures li')")
    assert "404" in page.text(".page-failures")
    assert page.evaluate("document.querySelectorAll('.doc').length") == 1
    site.gate.set()
    page.wait("document.querySelectorAll('.doc:not(.coming)').length === 2")
    assert "quality 100" in page.text(".doc-quality")
    page.click(".doc summary")
    page.wait("document.querySelector('.doc pre')?.textContent.includes('Mill 3')")
