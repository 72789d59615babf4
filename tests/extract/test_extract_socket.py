"""`/crawl/ws` over a real socket: both families of clients; pause, resume, cancel, status."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.extract.local_site import LocalSite

PATIENCE = 20.0


class Client:
    """One of the documented clients; `family` is how it names what it wants."""

    def __init__(self, socket: ClientConnection, family: str = "request_type") -> None:
        self.socket, self.family = socket, family

    def ask(self, what: str, data: Any = None, **more: Any) -> None:
        self.socket.send(json.dumps({self.family: what, "data": data or {}, **more}))

    def hear(self) -> dict[str, Any]:
        frame = json.loads(self.socket.recv(timeout=PATIENCE))
        assert set(frame) - {"request_id"} == {"message_type", "data", "timestamp"}
        return frame

    def until(self, kind: str) -> list[dict[str, Any]]:
        """Every frame up to the first of a kind."""
        heard = [self.hear()]
        while heard[-1]["message_type"] != kind:
            heard.append(self.hear())
        return heard

    def nothing_comes(self) -> bool:
        """Whether a ping is answered before anything else: so nothing was on its way."""
        self.ask("ping")
        return self.hear()["message_type"] == "pong"


@pytest.fixture
def opened(address: str) -> Any:
    @contextmanager
    def open_socket(path: str = "/crawl/ws", **more: Any) -> Iterator[ClientConnection]:
        with connect(address.replace("http", "ws") + path, **more) as socket:
            yield socket

    return open_socket


@pytest.fixture(params=["request_type", "action"])
def client(opened: Any, request: pytest.FixtureRequest) -> Iterator[Client]:
    with opened() as socket:
        client = Client(socket, request.param)
        welcome = client.hear()
        assert welcome["message_type"] == "welcome"
        assert set(welcome["data"]) == {
            "session_id",
            "server_time",
            "protocol_version",
            "supported_operations",
        }
        assert welcome["data"]["protocol_version"] == "1.0"
        yield client


def kinds(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["message_type"] for frame in frames]


def indices(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["data"]["index"] for frame in frames if frame["message_type"] == "result"]


def test_a_crawl(client: Client, site: LocalSite) -> None:
    urls = [site.page(1), f"{site.url}/missing"]
    client.ask("crawl", {"urls": urls, "options": {}}, request_id="mine")
    heard = client.until("summary")
    assert kinds(heard) == ["metadata", "result", "result", "summary"]
    assert {frame["request_id"] for frame in heard} == {"mine"}
    assert set(heard[0]["data"]) >= {"total_urls", "session_id", "timestamp", "stream_type"}
    assert set(heard[1]["data"]) == {"index", "result", "progress"}
    summary = heard[-1]["data"]
    assert (summary["total_urls"], summary["successful"], summary["failed"]) == (2, 1, 1)
    assert summary["total_processing_time_ms"] > 0
    client.ask("crawl", {"urls": urls[:1]})  # one socket, one crawl after another
    assert client.until("summary")[-1]["data"]["successful"] == 1


def test_each_answer_bears_the_id_of_its_own_request(client: Client, site: LocalSite) -> None:
    site.shut()
    urls = [site.gated(f"r-{client.family}")]
    client.ask("crawl", {"urls": urls, "options": {"cache_mode": "off"}}, request_id="mine")
    client.until("metadata")
    client.ask("ping", request_id="other")
    assert client.hear()["request_id"] == "other"
    client.ask("ping")
    assert "request_id" not in client.hear()
    site.gate.set()
    assert {frame["request_id"] for frame in client.until("summary")} == {"mine"}


def test_ping_and_status(client: Client) -> None:
    client.ask("ping")
    assert set(client.hear()["data"]) == {"timestamp", "session_id"}
    client.ask("status")
    status = client.hear()
    assert status["message_type"] == "status"
    assert set(status["data"]) >= {
        "session_id",
        "connected_duration_ms",
        "is_healthy",
        "message_count",
        "backpressure_count",
    }
    assert status["data"]["message_count"] == 2


def test_pause_holds_back_and_resume_goes_on(client: Client, site: LocalSite) -> None:
    site.shut()
    urls = [site.gated(f"p-{client.family}-{n}") for n in range(6)]
    path = f"/gate/p-{client.family}"
    options = {"concurrency": 2, "cache_mode": "off"}
    client.ask("crawl", {"urls": urls, "options": options})
    client.until("metadata")
    while site.begun(path) < 2:
        pass
    client.ask("pause")
    paused = client.hear()
    assert (paused["message_type"], paused["data"]["state"]) == ("paused", "paused")
    site.gate.set()
    while site.waiting():
        pass
    assert client.nothing_comes()
    client.ask("status")
    assert client.hear()["data"]["crawl"]["state"] == "paused"
    assert site.begun(path) == 2  # none began since
    client.ask("resume")
    heard = client.until("summary")
    assert heard[0]["message_type"] == "resumed"
    assert sorted(indices(heard)) == list(range(6))


def test_cancel_stops_the_work(client: Client, site: LocalSite, http: httpx.Client) -> None:
    site.shut()
    options = {"concurrency": 1, "cache_mode": "off"}
    urls = [site.gated(f"x-{client.family}-{n}") for n in range(5)]
    client.ask("crawl", {"urls": urls, "options": options})
    run = client.until("metadata")[-1]["data"]["request_id"]
    while not site.begun(f"/gate/x-{client.family}"):
        pass
    client.ask("cancel", {"reason": "enough"})
    heard = client.until("summary")
    assert "cancelled" in kinds(heard)
    assert heard[-1]["data"]["status"] == "cancelled"
    assert heard[-1]["data"]["failed"] == 5
    site.gate.set()
    ended = http.get(f"/runs/{run}").json()
    assert (ended["state"], ended["error"]["reason"]) == ("cancelled", "enough")
    assert site.begun(f"/gate/x-{client.family}") == 1


def test_a_paused_crawl_can_be_cancelled(client: Client, site: LocalSite) -> None:
    site.shut()
    options = {"concurrency": 1, "cache_mode": "off"}
    client.ask("crawl", {"urls": [site.gated("y0"), site.gated("y1")], "options": options})
    client.until("metadata")
    client.ask("pause")
    client.until("paused")
    client.ask("cancel")
    assert client.until("summary")[-1]["data"]["status"] == "cancelled"
    site.gate.set()


def test_another_socket_takes_up_what_the_first_left(
    opened: Any, client: Client, site: LocalSite
) -> None:
    site.shut()
    urls = [site.page("t0"), site.gated("t1"), site.gated("t2")]
    client.ask("crawl", {"urls": urls, "options": {"cache_mode": "off"}})
    run = client.until("metadata")[-1]["data"]["request_id"]
    first = client.hear()
    assert first["data"]["index"] == 0
    client.socket.close()
    site.gate.set()
    with opened() as socket:
        second = Client(socket)
        second.until("welcome")
        second.ask("resume", {"request_id": run, "last_index": 0})
        heard = second.until("summary")
        assert sorted(indices(heard)) == [1, 2]


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ('{"request_type": "dance"}', "unknown_request"),
        ("{}", "unknown_request"),
        ("no json", "validation_error"),
        ("[1]", "validation_error"),
        ('{"request_type": "crawl", "data": {"urls": []}}', "validation_error"),
        ('{"request_type": "crawl", "data": {"urls": ["http://localhost/"]}}', "invalid_url"),
        ('{"request_type": "pause"}', "validation_error"),
        ('{"request_type": "cancel"}', "validation_error"),
        ('{"request_type": "resume", "data": {"request_id": "nobody"}}', "not_found"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_socket_stays(
    client: Client, frame: str, kind: str
) -> None:
    client.socket.send(frame)
    heard = client.hear()
    assert heard["message_type"] == "error"
    assert set(heard["data"]) == {"error_type", "message"}
    assert heard["data"]["error_type"] == kind
    assert client.nothing_comes()


def test_a_page_of_another_site_may_not_open_one(opened: Any) -> None:
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        opened(origin="https://evil.example") as socket,
    ):
        socket.recv(timeout=PATIENCE)
