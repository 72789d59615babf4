"""`/crawl` and `/crawl/stream` over real HTTP: headers, lines and errors, to the field."""

import json
import socket
from typing import Any

import httpx
import pytest

from tests.extract.local_site import LocalSite
from tests.extract.streams import kind_by_fields, lines, of

DOCUMENT = {
    "url",
    "title",
    "byline",
    "published_iso",
    "markdown",
    "text",
    "links",
    "media",
    "language",
    "reading_time",
    "quality_score",
    "word_count",
    "categories",
    "site_name",
    "description",
}
RESULT = {
    "url",
    "status",
    "from_cache",
    "gate_decision",
    "quality_score",
    "processing_time_ms",
    "document",
    "error",
    "cache_key",
}


def crawl(http: httpx.Client, urls: list[str], path: str = "/crawl/stream", **options: Any):
    answer = http.post(path, json={"urls": urls, "options": options})
    assert answer.status_code == 200, answer.text
    return lines(answer.text)


@pytest.mark.parametrize("path", ["/crawl/stream", "/api/v1/crawl/stream", "/api/v1/stream/crawl"])
def test_lines_to_the_field(http: httpx.Client, site: LocalSite, path: str) -> None:
    found = crawl(http, [site.page(1), f"{site.url}/missing"], path)
    assert [line["event"] for line in found] == ["metadata", "result", "result", "summary"]
    assert all(kind_by_fields(line) == line["event"] for line in found)
    first = found[0]
    assert set(first) == {"event", "total_urls", "request_id", "timestamp", "stream_type"}
    assert (first["total_urls"], first["stream_type"]) == (2, "crawl")
    results = {line["index"]: line for line in of("result", found)}
    assert set(results[0]) == {"event", "index", "result", "progress"}
    good, bad = results[0]["result"], results[1]["result"]
    assert set(good) >= RESULT
    assert set(good["document"]) >= DOCUMENT
    assert (good["status"], good["error"], good["document"]["title"]) == (200, None, "Page 1")
    assert 0 <= good["quality_score"] <= 1
    assert 0 <= good["document"]["quality_score"] <= 100
    assert (bad["status"], bad["gate_decision"], bad["document"]) == (0, "failed", None)
    assert set(bad["error"]) >= {"error_type", "message", "retryable"}
    assert bad["error"]["error_type"] == "processing_error"
    assert found[2]["progress"] == {"completed": 2, "total": 2, "success_rate": 0.5}
    summary = found[-1]
    assert set(summary) == {
        "event",
        "total_urls",
        "successful",
        "failed",
        "from_cache",
        "total_processing_time_ms",
        "cache_hit_rate",
    }
    assert (summary["total_urls"], summary["successful"], summary["failed"]) == (2, 1, 1)


def test_headers(http: httpx.Client, site: LocalSite) -> None:
    told = {"X-Session-ID": "session-7", "X-Buffer-Size": "99999", "X-Slow-Client-Threshold": "250"}
    answer = http.post("/crawl/stream", json={"urls": [site.page(1)]}, headers=told)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-request-id"] == lines(answer.text)[0]["request_id"]
    assert answer.headers["x-stream-buffer-limit"] == "65536"
    assert answer.headers["x-stream-start-time"].endswith("Z")
    assert answer.headers["x-session-id"] == "session-7"
    assert answer.headers["x-buffer-capacity"] == "2048"
    assert answer.headers["x-backpressure-threshold"] == "250"


def test_each_result_leaves_as_it_is_done(http: httpx.Client, site: LocalSite) -> None:
    site.shut()
    body = {"urls": [site.gated("last"), site.page(2)], "options": {"cache_mode": "off"}}
    with http.stream("POST", "/crawl/stream", json=body) as answer:
        came = answer.iter_lines()
        assert json.loads(next(came))["event"] == "metadata"
        second = json.loads(next(came))
        assert (second["event"], second["index"]) == ("result", 1)  # while the first one waits
        site.gate.set()
        assert [json.loads(line)["event"] for line in came] == ["result", "summary"]


def test_progress_after_every_fifth_of_more_than_ten(http: httpx.Client, site: LocalSite) -> None:
    found = crawl(http, [site.page(n) for n in range(12)])
    kinds = [line["event"] for line in found]
    five = ["result"] * 5
    assert kinds == [
        "metadata",
        *five,
        "progress",
        *five,
        "progress",
        "result",
        "result",
        "summary",
    ]
    told = of("progress", found)[0]
    assert set(told) == {
        "event",
        "operation_id",
        "operation_type",
        "started_at",
        "current_phase",
        "progress_percentage",
        "items_completed",
        "items_total",
        "estimated_completion",
        "current_item",
    }
    assert (told["operation_id"], told["operation_type"]) == ("crawl_stream", "batch_crawl")
    assert (told["items_completed"], told["items_total"]) == (5, 12)
    assert len(of("progress", crawl(http, [site.page(n) for n in range(10)]))) == 0


def test_the_concurrency_asked_for_is_kept(http: httpx.Client, site: LocalSite) -> None:
    site.shut()
    urls = [site.gated(f"c{n}") for n in range(8)]
    body = {"urls": urls, "options": {"concurrency": 3, "cache_mode": "off"}}
    with http.stream("POST", "/crawl/stream", json=body) as answer:
        came = answer.iter_lines()
        next(came)
        while site.waiting() < 3:
            pass
        site.gate.set()
        assert len(list(came)) == 9
    assert site.most == 3


def test_retries_and_a_time_limit_for_each_url(http: httpx.Client, site: LocalSite) -> None:
    urls = [f"{site.url}/flaky/1", f"{site.url}/hang", site.page(3)]
    found = crawl(http, urls, timeout_ms=1500, cache_mode="off")
    results = {line["index"]: line["result"] for line in of("result", found)}
    assert results[0]["status"] == 200
    assert site.hits["/flaky/1"] == 2
    assert results[1]["error"]["code"] == "url_timeout"
    assert results[2]["status"] == 200
    site.hits["/flaky/1"] = 0
    once = crawl(http, urls[:1], retries=0, cache_mode="off")
    assert once[1]["result"]["error"]["code"] == "http_status"


def test_from_the_cache(http: httpx.Client, site: LocalSite) -> None:
    url = site.page("kept")
    crawl(http, [url])
    again = crawl(http, [url])
    assert again[1]["result"]["gate_decision"] == "cached"
    assert again[-1]["from_cache"] == 1
    assert site.hits["/page/kept"] == 1
    assert crawl(http, [url], cache_mode="off")[1]["result"]["gate_decision"] == "raw"


def test_one_json(http: httpx.Client, site: LocalSite) -> None:
    urls = [site.page(5), f"{site.url}/missing", site.page(6)]
    answer = http.post("/crawl", json={"urls": urls})
    told = answer.json()
    assert set(told) >= {"total_urls", "successful", "failed", "from_cache", "results"}
    assert (told["total_urls"], told["successful"], told["failed"]) == (3, 2, 1)
    assert [result["url"] for result in told["results"]] == urls
    assert told["statistics"]["gate_decisions"]["failed"] == 1


def test_previews_come_before_their_results(http: httpx.Client, site: LocalSite) -> None:
    found = crawl(http, [site.page(9)], previews=True)
    assert [line["event"] for line in found] == ["metadata", "preview", "result", "summary"]
    assert found[1]["preview"]["head"]["title"] == "Page 9"


def test_forms_of_a_document(http: httpx.Client, site: LocalSite) -> None:
    url = site.page(4)

    def document(**options: Any) -> Any:
        return crawl(http, [url], **options)[1]["result"]["document"]

    assert document(output_format="markdown")["text"] == ""
    assert document(output_format="text")["markdown"] == ""
    assert document(skip_extraction=True) is None
    assert document(extraction_mode="metadata")["word_count"] == 0
    assert document(extraction_mode="full")["text"].startswith("Home")
    pieces = document(chunking_config={"chunk_size": 100, "overlap_size": 10})["chunks"]
    assert all(len(piece.split()) <= 100 for piece in pieces)
    assert pieces[0].split()[-10:] == pieces[1].split()[:10]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"urls": []}, "validation_error", "urls"),
        ({"urls": ["http://a.test/"] * 101}, "validation_error", "urls"),
        ({}, "validation_error", "urls"),
        ({"urls": ["http://a.test/", "ftp://a.test/"]}, "invalid_url", "urls[1]"),
        ({"urls": ["http://localhost/"]}, "invalid_url", "urls[0]"),
        ({"urls": ["http://10.0.0.1/"]}, "invalid_url", "urls[0]"),
        ({"urls": ["http://a.test/" + "x" * 2048]}, "invalid_url", "2048"),
        ({"urls": ["http://a.test/" + "%20" * 21]}, "invalid_url", "percent"),
        ({"urls": ["http://a.test/setup.exe"]}, "invalid_url", "program"),
        (
            {"urls": ["http://a.test/"], "options": {"concurrency": 0}},
            "validation_error",
            "concurrency",
        ),
    ],
)
def test_bad_requests(http: httpx.Client, body: Any, kind: str, said: str) -> None:
    for path in ("/crawl", "/crawl/stream", "/crawl/sse"):
        answer = http.post(path, json=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert set(error) == {"type", "message", "retryable", "status"}
        assert (error["type"], error["status"], error["retryable"]) == (kind, 400, False)
        assert said in error["message"]


def test_other_errors_have_the_same_shape(http: httpx.Client) -> None:
    garbled = http.post(
        "/crawl", content=b"{", headers={"content-type": "application/json"}
    ).json()["error"]
    assert garbled["type"] == "validation_error"
    missing = http.get("/crawl/stream/no-such-run")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found")


def test_preflight(http: httpx.Client) -> None:
    answer = http.options("/crawl/stream", headers={"Origin": "https://example.org"})
    assert answer.status_code == 204
    assert "X-API-Key" in answer.headers["access-control-allow-headers"]


def test_a_client_that_reads_slowly_gets_all(address: str, site: LocalSite) -> None:
    """Over a socket with a small window: the answer does not fit into any buffer on its way."""
    urls = [site.page(f"slow{n % 10}") for n in range(100)]
    body = json.dumps({"urls": urls}).encode()
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect((host, int(port)))
        head = (
            f"POST /crawl/stream HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            piece = client.recv(1024)
            assert piece, "the answer broke off"
            answer += piece
    decoded = httpx.Response(200, content=_unchunked(answer.split(b"\r\n\r\n", 1)[1])).text
    found = lines(decoded)
    assert sorted(line["index"] for line in of("result", found)) == list(range(100))
    assert found[-1]["successful"] == 100


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return whole
