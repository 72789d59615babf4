"""`/crawl/sse` over real HTTP: events, ids, retry, and going on after a connection broke."""

import json
from typing import Any

import httpx
import pytest

from tests.extract.local_site import LocalSite
from tests.extract.streams import blocks


@pytest.mark.parametrize("path", ["/crawl/sse", "/api/v1/crawl/sse", "/api/v1/sse/crawl"])
def test_events_to_the_field(http: httpx.Client, site: LocalSite, path: str) -> None:
    answer = http.post(path, json={"urls": [site.page(1), f"{site.url}/missing"]})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["access-control-allow-origin"] == "*"
    found = blocks(answer.text)
    names = [block["event"] for block in found]
    assert names == ["metadata", "progress", "result", "progress", "result", "complete"]
    first = found[0]
    assert first["retry"] == "5000"
    assert set(first["data"]) == {
        "total_urls",
        "request_id",
        "timestamp",
        "stream_type",
        "retry_interval_ms",
    }
    assert first["data"]["retry_interval_ms"] == 5000
    assert set(found[1]["data"]) == {"completed", "total", "success_rate", "cache_hit_rate"}
    for block in found:
        if block["event"] == "result":
            assert set(block["data"]) == {"index", "result", "processing_time_ms"}
            assert block["id"] == str(block["data"]["index"])
    complete = found[-1]["data"]
    assert set(complete) >= {
        "total_urls",
        "successful",
        "failed",
        "from_cache",
        "total_processing_time_ms",
        "cache_hit_rate",
        "average_processing_time_ms",
    }
    assert (complete["successful"], complete["failed"]) == (1, 1)


def test_status_after_every_tenth_of_more_than_twenty(http: httpx.Client, site: LocalSite) -> None:
    def status(count: int) -> list[Any]:
        body = {"urls": [site.page(n % 5) for n in range(count)]}
        found = blocks(http.post("/crawl/sse", json=body).text)
        return [block["data"] for block in found if block["event"] == "status"]

    told = status(21)
    assert [each["items_processed"] for each in told] == [10, 20]
    assert set(told[0]) == {
        "phase",
        "items_processed",
        "items_remaining",
        "estimated_completion",
        "throughput_per_minute",
    }
    assert status(20) == []


def broken_off(http: httpx.Client, body: Any) -> tuple[str, list[dict[str, Any]]]:
    """A stream that its client leaves after two results: the run, and the blocks it saw."""
    text = ""
    with http.stream("POST", "/crawl/sse", json=body) as answer:
        for piece in answer.iter_text():
            text += piece
            if text.count("event: result") >= 2 and text.endswith("\n\n"):
                break
    return answer.headers["x-request-id"], blocks(text)


def results(found: list[dict[str, Any]]) -> list[int]:
    return [int(block["id"]) for block in found if block["event"] == "result"]


@pytest.mark.parametrize("way", ["same request", "named", "by address"])
def test_a_client_that_comes_back_gets_the_rest(
    http: httpx.Client, site: LocalSite, way: str
) -> None:
    site.shut()
    urls = [site.page(f"{way}{n}") for n in range(2)] + [site.gated(f"{way}{n}") for n in range(3)]
    body = {"urls": [url.replace(" ", "-") for url in urls], "options": {"cache_mode": "off"}}
    run, seen = broken_off(http, body)
    site.gate.set()
    headers = {"Last-Event-ID": str(results(seen)[-1])}
    if way == "by address":
        answer = http.get(f"/crawl/sse/{run}", headers=headers)
    else:
        named = {"X-Request-ID": run} if way == "named" else {}
        answer = http.post("/crawl/sse", json=body, headers={**headers, **named})
    rest = blocks(answer.text)
    assert answer.headers["x-request-id"] == run
    assert sorted(results(seen) + results(rest)) == [0, 1, 2, 3, 4]
    assert rest[-1]["event"] == "complete"
    assert rest[-1]["data"]["successful"] == 5
    over = http.get(f"/crawl/sse/{run}", headers={"Last-Event-ID": rest[-1]["id"]})
    assert over.status_code == 204  # so that an EventSource stops


def test_every_place_of_a_finished_stream_can_be_resumed(
    http: httpx.Client, site: LocalSite
) -> None:
    answer = http.post("/crawl/sse", json={"urls": [site.page(n) for n in range(6)]})
    whole, run = blocks(answer.text), answer.headers["x-request-id"]
    order = results(whole)
    for place, last in enumerate(order):
        rest = blocks(http.get(f"/crawl/sse/{run}", headers={"Last-Event-ID": str(last)}).text)
        assert results(rest) == order[place + 1 :]
        assert rest[-1]["data"] == whole[-1]["data"]
    lines = http.get(f"/crawl/stream/{run}", params={"after": order[3]}).text.splitlines()
    kept = [json.loads(line) for line in lines]
    assert [line["index"] for line in kept if line["event"] == "result"] == order[4:]


@pytest.mark.parametrize("said", ["99", "x", "-1"])
def test_an_id_that_was_never_told_is_refused(
    http: httpx.Client, site: LocalSite, said: str
) -> None:
    run = http.post("/crawl/sse", json={"urls": [site.page(1)]}).headers["x-request-id"]
    answer = http.get(f"/crawl/sse/{run}", headers={"Last-Event-ID": said})
    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["error"]["message"]
