"""The contract that this system's clients rely on, over a real socket: routes, shapes, messages.

How well pictures are read is not asked here: most are the upper part of a sample, read sooner.
"""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.decklists.conftest import APP, SAMPLES
from tests.serving_process import start_server, stop_server

File = tuple[str, bytes, str]


def upper_part(name: str, height: int) -> File:
    """A sample as far as its header, its legend and the first whole rows of cards go."""
    image = Image.open(SAMPLES / name)
    out = io.BytesIO()
    image.crop((0, 0, image.width, height)).save(out, "JPEG", quality=85)
    return (name, out.getvalue(), "image/jpeg")


DECK, OTHER = upper_part("deck-03.jpg", 1120), upper_part("deck-08.jpg", 1120)
CUT: File = ("cut.jpg", DECK[1][:20_000], "image/jpeg")


def batch(*files: File) -> list[tuple[str, File]]:
    return [("files", file) for file in files]


def blocks(text: str) -> list[tuple[str, dict[str, Any]]]:
    """What the documented clients do: split at blank lines, take the first two lines."""
    found = []
    for block in text.split("\n\n"):
        if not block:
            continue
        event_line, data_line = block.split("\n")[:2]
        assert event_line.startswith("event: ")
        assert data_line.startswith("data: ")
        found.append((event_line[7:], json.loads(data_line[6:])))
    return found


def test_one_picture(http: httpx.Client) -> None:
    for base in ("/api", "/api/v1"):
        answer = http.post(f"{base}/process", files={"file": DECK})
        assert answer.status_code == 200
        deck = answer.json()
        assert set(deck) == {
            "decklist_id",
            "metadata",
            "legend",
            "main_deck",
            "battlefields",
            "runes",
            "side_deck",
            "stats",
            "unmatched",
        }
        assert deck["stats"]["accuracy"] == 100
        assert set(deck["main_deck"][0]) == {
            "name_cn",
            "quantity",
            "name_en",
            "card_number",
            "type_en",
            "domain_en",
            "cost",
            "rarity_en",
            "image_url_en",
            "match_score",
            "match_type",
        }


def test_one_picture_as_a_stream(http: httpx.Client) -> None:
    answer = http.post("/api/process-stream", files={"file": DECK})
    events = blocks(answer.text)
    assert [(name, data.get("status")) for name, data in events] == [
        ("progress", "starting"),
        ("progress", "ocr"),
        ("progress", "matching"),
        ("result", None),
        ("complete", "success"),
    ]
    assert [data["progress"] for name, data in events if name == "progress"] == [0, 20, 70]
    assert events[3][1]["decklist"]["metadata"]["deck_name"]
    assert events[4][1]["progress"] == 100


def test_one_bad_picture_as_a_stream(http: httpx.Client) -> None:
    answer = http.post("/api/process-stream", files={"file": ("a.jpg", b"\xff\xd8\xffnope", "")})
    events = blocks(answer.text)
    assert events[-1][0] == "error"
    assert events[-1][1]["message"]


def test_batch_stream_headers_order_and_numbers(http: httpx.Client) -> None:
    answer = http.post("/api/process-batch-stream", files=batch(DECK, OTHER))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "\r" not in answer.text
    events = blocks(answer.text)
    for index in (0, 1):
        mine = [
            (name, data.get("status"))
            for name, data in events
            if data.get("current") == index + 1 or data.get("index") == index
        ]
        assert mine == [("progress", "validating"), ("progress", "processing"), ("result", None)]
    name, complete = events[-1]
    assert name == "complete"
    assert complete["event"] == "complete"
    numbers = complete["data"]
    assert numbers == {key: complete[key] for key in numbers}
    assert (numbers["total"], numbers["successful"], numbers["failed"]) == (2, 2, 0)
    assert numbers["average_accuracy"] == 100
    assert numbers["processing_time_seconds"] > 0


@pytest.mark.parametrize(
    ("file", "kind", "said"),
    [
        (("notes.txt", b"hello", "text/plain"), "validation", "File must be an image (JPG/PNG)"),
        (
            ("fake.jpg", b"no picture", "image/jpeg"),
            "validation",
            "File must be an image (JPG/PNG)",
        ),
        (
            ("big.jpg", b"\xff\xd8\xff" + bytes(12 * 2**20), "image/jpeg"),
            "validation",
            "File size (12.0MB) exceeds maximum (10MB)",
        ),
        (CUT, "processing", None),
    ],
    ids=["text", "fake", "oversized", "truncated"],
)
def test_a_bad_file_leaves_its_neighbours_alone(
    http: httpx.Client, file: File, kind: str, said: str | None
) -> None:
    answer = http.post("/api/v1/process-batch-stream", files=batch(file, DECK))
    events = blocks(answer.text)
    errors = [data for name, data in events if name == "error"]
    assert len(errors) == 1
    assert errors[0]["index"] == 0
    assert errors[0]["filename"] == file[0]
    assert errors[0]["error_type"] == kind
    if said is not None:
        assert errors[0]["error"] == said
    assert [data["index"] for name, data in events if name == "result"] == [1]
    assert events[-1][0] == "complete"
    assert (events[-1][1]["successful"], events[-1][1]["failed"]) == (1, 1)


def test_all_bad_still_completes(http: httpx.Client) -> None:
    answer = http.post("/api/process-batch-stream", files=batch(("a.txt", b"a", "text/plain")))
    name, complete = blocks(answer.text)[-1]
    assert name == "complete"
    assert (complete["failed"], complete["average_accuracy"]) == (1, None)


def test_single_refusals(http: httpx.Client) -> None:
    wrong = http.post("/api/process", files={"file": ("a.txt", b"hello", "text/plain")})
    assert (wrong.status_code, wrong.json()) == (
        400,
        {"detail": "File must be an image (JPG/PNG)"},
    )
    missing = http.post("/api/process")
    assert missing.status_code == 422
    assert missing.json()["detail"][0]["loc"] == ["body", "file"]
    other = http.post("/api/process", files={"picture": DECK})
    assert other.status_code == 422


def test_batch_limits(http: httpx.Client) -> None:
    many = http.post("/api/process-batch", files=batch(*[DECK] * 15))
    assert (many.status_code, many.json()) == (
        400,
        {"detail": "Maximum 10 images per batch (received 15)"},
    )
    assert http.post("/api/process-batch-stream", files=batch(*[DECK] * 11)).status_code == 400
    assert http.post("/api/process-batch-stream").status_code == 422


def test_batch_as_one_json(http: httpx.Client) -> None:
    files = batch(DECK, ("a.txt", b"a", "text/plain"), OTHER)
    report = http.post("/api/process-batch", files=files).json()
    assert (report["total"], report["successful"], report["failed"]) == (3, 2, 1)
    assert report["average_accuracy"] == 100
    assert [each["index"] for each in report["results"]] == [0, 2]
    assert report["errors"][0]["filename"] == "a.txt"


def test_fast_needs_to_be_enabled(http: httpx.Client) -> None:
    assert http.post("/api/process-batch-fast", files=batch(DECK)).status_code == 400


def test_save_needs_a_main_service(http: httpx.Client) -> None:
    answer = http.post("/api/process-and-save?owner=me&format_id=1", files={"file": DECK})
    assert answer.status_code == 503


def test_health_and_stats(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert {"status", "service", "version", "timestamp"} <= set(health)
    own = http.get("/api/v1/health").json()
    assert own["matcher_loaded"] is True
    assert own["total_cards_in_db"] == 399
    for path in ("/stats", "/api/stats", "/api/v1/stats"):
        stats = http.get(path).json()
        assert stats["matcher"]["supported_languages"] == ["zh-CN", "en"]
        assert stats["matcher"]["total_cards"] == 399
        assert set(stats["parser"]) == {
            "ocr_engines",
            "supported_formats",
            "max_file_size_mb",
            "use_gpu",
        }


def test_resume_gives_exactly_the_rest(http: httpx.Client) -> None:
    answer = http.post("/api/process-batch-stream", files=batch(DECK, OTHER))
    run = answer.headers["location"].rsplit("/", 1)[1]
    whole = answer.text
    ids = [line[4:] for line in whole.split("\n") if line.startswith("id: ")]
    for last in ids:
        rest = whole.split(f"id: {last}\n\n", 1)[1]
        again = http.get(f"/api/v1/batches/{run}/stream", headers={"Last-Event-ID": last})
        assert again.text == rest


def test_retry_only_what_failed(http: httpx.Client) -> None:
    files = batch(DECK, CUT)
    first = http.post("/api/process-batch-stream", files=files)
    run = first.headers["location"].rsplit("/", 1)[1]
    second = http.post(f"/api/v1/batches/{run}/retry")
    events = blocks(second.text)
    assert {data.get("filename") for name, data in events if name != "complete"} == {"cut.jpg"}
    assert events[-1][1]["total"] == 1
    clean = http.post("/api/process-batch-stream", files=batch(DECK))
    nothing = http.post(f"/api{clean.headers['location'].replace('/runs', '/batches')}/retry")
    assert nothing.status_code == 400


def test_export(http: httpx.Client) -> None:
    answer = http.post("/api/process-batch-stream", files=batch(DECK))
    run = answer.headers["location"].rsplit("/", 1)[1]
    deck = http.get(f"/api/v1/batches/{run}/decklists/0").json()
    text = http.get(f"/api/v1/batches/{run}/decklists/0?format=text").text
    card = deck["main_deck"][0]
    assert f"{card['quantity']} {card['name_en']}" in text.splitlines()
    table = http.post("/api/v1/export?format=csv", json=deck).text.splitlines()
    assert table[0] == "Card ID,Normal,Foil"
    assert any(line.startswith(card["card_number"]) for line in table[1:])
    assert http.get(f"/api/v1/batches/{run}/decklists/7").status_code in (400, 404)


def test_idempotency_key_makes_one_run(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    locations = {
        http.post("/api/process-batch-stream", files=batch(DECK), headers=headers).headers[
            "location"
        ]
        for _ in range(2)
    }
    assert len(locations) == 1


def test_first_result_comes_before_the_second_picture_is_done(http: httpx.Client) -> None:
    """Seen in the run's own log: positions tell what came before what."""
    whole = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))[:4]]
    files = batch(*[("deck.jpg", data, "image/jpeg") for data in whole])
    seen: list[str] = []
    with http.stream("POST", "/api/process-batch-stream", files=files) as answer:
        run = answer.headers["location"]
        for line in answer.iter_lines():
            if line.startswith("event: result"):
                state = httpx.get(f"{http.base_url}{run}").json()
                seen.append(state["state"])
                break
    assert seen == ["running"]
    deadline = http.get(f"{run}/events", headers={"Accept": "application/json"}).json()
    assert len(deadline["result"]) == len(files)


def test_no_cards_no_service(tmp_path: Path) -> None:
    process, url = start_server(APP, tmp_path, CARD_MAPPING_PATH=str(tmp_path / "missing.csv"))
    try:
        answer = httpx.post(f"{url}/api/process", files={"file": DECK})
        assert (answer.status_code, answer.json()) == (
            503,
            {"detail": "Card matcher not initialized"},
        )
        own = httpx.get(f"{url}/api/v1/health").json()
        assert (own["status"], own["matcher_loaded"]) == ("degraded", False)
    finally:
        stop_server(process)
