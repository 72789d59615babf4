"""Keys and limits, over real HTTP: in this system's own shapes."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.extract.conftest import start_extract
from tests.extract.local_site import LocalSite
from tests.extract.streams import lines
from tests.serving_process import stop_server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_extract(
        tmp_path_factory.mktemp("guarded"),
        API_KEYS="ada:key-of-ada-0123456789, key-of-bob-0123456789",
        REQUIRE_AUTH="true",
        STREAM_RATE_LIMIT_RPS="0.001",
        STREAM_RATE_LIMIT_BURST="6",
        WS_PING_INTERVAL="0.2",
        STREAM_DEFAULT_TIMEOUT="4",
        EXTRACT_ALLOW="127.0.0.1",
        EXTRACT_WORKERS="1",
    )
    yield url
    logged = stop_server(process)
    assert "Traceback" not in logged, logged


def test_keys_then_limits(guarded: str, site: LocalSite) -> None:
    body = {"urls": [site.page(1)]}
    ada = {"X-API-Key": "key-of-ada-0123456789"}
    with httpx.Client(base_url=guarded, timeout=60) as http:
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
            answer = http.post("/crawl/stream", json=body, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["type"] == "authentication_error"
            assert answer.json()["error"]["status"] == 401
        mine = http.post("/crawl/stream", json=body, headers=ada)
        assert lines(mine.text)[-1]["successful"] == 1
        run = mine.headers["x-request-id"]
        bob = {"Authorization": "Bearer key-of-bob-0123456789"}
        assert http.get(f"/crawl/stream/{run}", headers=ada).status_code == 200
        assert http.get(f"/crawl/stream/{run}", headers=bob).status_code == 404  # not bob's
        for _ in range(8):
            answer = http.post("/crawl/stream", json=body, headers=ada)
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        error = answer.json()["error"]
        assert (error["type"], error["retryable"]) == ("rate_limited", True)
        assert int(answer.headers["retry-after"]) > 0
        assert http.post("/crawl/stream", json=body, headers=bob).status_code == 200


def test_a_socket_needs_a_key_too(guarded: str) -> None:
    address = guarded.replace("http", "ws") + "/crawl/ws"
    with connect(address) as socket:
        assert '"authentication_error"' in str(socket.recv(timeout=20))
    with connect(address + "?token=key-of-bob-0123456789") as socket:
        assert '"welcome"' in str(socket.recv(timeout=20))
        assert '"heartbeat"' in str(socket.recv(timeout=20))  # where nobody says anything


def test_without_a_provider_search_says_so(tmp_path: Path, guarded: str) -> None:
    key = {"X-API-Key": "key-of-bob-0123456789"}
    answer = httpx.post(
        f"{guarded}/deepsearch/stream", json={"query": "mills"}, headers=key, timeout=30
    )
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["type"] == "dependency_error"
    assert "SERPER_API_KEY" in error["message"]


def test_a_crawl_that_runs_out_of_time_tells_every_url(guarded: str, site: LocalSite) -> None:
    key = {"X-API-Key": "key-of-bob-0123456789"}
    body = {"urls": [site.page(1), f"{site.url}/hang", f"{site.url}/hang/on"]}
    answer = httpx.post(f"{guarded}/crawl/stream", json=body, headers=key, timeout=30)
    found = lines(answer.text)
    assert [line["event"] for line in found] == [
        "metadata",
        "result",
        "result",
        "result",
        "error",
        "summary",
    ]
    codes = {line["index"]: (line["result"]["error"] or {}).get("code") for line in found[1:4]}
    assert codes == {0: None, 1: "deadline_exceeded", 2: "deadline_exceeded"}
    assert found[4]["error"]["type"] == "deadline_exceeded"
    assert (found[5]["successful"], found[5]["failed"]) == (1, 2)


def test_what_is_refused_has_one_shape(http: httpx.Client, site: LocalSite) -> None:
    whole = http.post("/crawl", json={"urls": [site.page(1)]})
    assert whole.headers["x-request-id"] == whole.json()["request_id"]
    asked = [
        (405, "GET", "/crawl"),
        (405, "GET", "/api/v1/crawl/stream"),
        (405, "DELETE", "/crawl/sse"),
        (405, "PUT", "/api/v1/stream/deepsearch"),
        (405, "GET", "/crawl/site"),
        (426, "GET", "/crawl/ws"),
        (415, "POST", "/crawl/stream"),
        (404, "GET", "/crawl/sse/nobody"),
    ]
    for status, method, path in asked:
        answer = http.request(method, path, content=b"x", headers={"Content-Type": "text/plain"})
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (status, status), path
        assert set(error) == {"type", "message", "retryable", "status"}
        assert answer.headers["access-control-allow-origin"] == "*"
        assert ("POST" in answer.headers.get("allow", "")) == (status == 405)
    assert http.head("/crawl/stream").status_code == 405
