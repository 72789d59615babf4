"""`/deepsearch/stream` over real HTTP, against a search provider on the local site."""

import httpx
import pytest

from tests.extract.local_site import LocalSite
from tests.extract.streams import kind_by_fields, lines, of


@pytest.mark.parametrize(
    "path", ["/deepsearch/stream", "/api/v1/deepsearch/stream", "/api/v1/stream/deepsearch"]
)
def test_lines_to_the_field(http: httpx.Client, site: LocalSite, path: str) -> None:
    body = {"query": "mills", "limit": 3, "country": "GB", "locale": "en"}
    found = lines(http.post(path, json=body).text)
    assert all(kind_by_fields(line) == line["event"] for line in found)
    assert found[0]["stream_type"] == "deepsearch"
    assert found[0]["total_urls"] == 0
    told = of("search", found)[0]
    assert set(told) == {"event", "query", "urls_found", "search_time_ms"}
    assert (told["query"], told["urls_found"]) == ("mills", 3)
    results = sorted(of("result", found), key=lambda line: line["index"])
    assert [line["search_result"]["url"] for line in results] == [site.page(n) for n in (1, 2, 3)]
    assert results[0]["search_result"] == {
        "url": site.page(1),
        "rank": 1,
        "search_title": "Hit 1",
        "search_snippet": "About 1",
    }
    assert results[0]["crawl_result"]["document"]["title"] == "Page 1"
    summary = found[-1]
    assert set(summary) == {
        "event",
        "query",
        "total_urls_found",
        "total_processing_time_ms",
        "status",
    }
    assert (summary["total_urls_found"], summary["status"]) == (3, "completed")
    asked = site.asked[-1]
    assert (asked["gl"], asked["hl"], asked["key"]) == ("gb", "en", "a-key-of-the-tests")


def test_without_content(http: httpx.Client, site: LocalSite) -> None:
    before = site.hits.total()
    body = {"query": "mills", "include_content": False}
    found = lines(http.post("/deepsearch/stream", json=body).text)
    assert [line["crawl_result"] for line in of("result", found)] == [None] * 4
    assert site.hits.total() == before


def test_a_query_of_urls_needs_no_search(http: httpx.Client, site: LocalSite) -> None:
    asked = len(site.asked)
    found = lines(http.post("/deepsearch/stream", json={"query": site.page(7)}).text)
    assert of("result", found)[0]["crawl_result"]["status"] == 200
    assert len(site.asked) == asked


def test_a_provider_that_fails_is_told(http: httpx.Client) -> None:
    found = lines(http.post("/deepsearch/stream", json={"query": "broken"}).text)
    assert [line["event"] for line in found] == ["metadata", "error", "summary"]
    assert "answered 500" in found[1]["error"]["message"]
    assert found[-1]["status"] == "failed"


@pytest.mark.parametrize(
    "body", [{}, {"query": " "}, {"query": "x" * 501}, {"query": "x", "limit": 51}]
)
def test_bad_requests(http: httpx.Client, body: object) -> None:
    answer = http.post("/deepsearch/stream", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "validation_error"
