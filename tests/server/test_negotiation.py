"""Content negotiation, cursors and wishes: one URL, four forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import serving

from millstream.server.accept import NotAcceptable, negotiate

ALL = ("json", "sse", "ndjson")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("text/event-stream", "sse"),
        ("TEXT/Event-Stream", "sse"),
        ("text/*", "sse"),
        ("application/*", "json"),
        ("application/x-ndjson", "ndjson"),
        ("application/jsonl", "ndjson"),
        ("application/json, text/event-stream", "json"),
        ("text/event-stream, application/json", "sse"),
        ("application/json;q=0.5, text/event-stream", "sse"),
        ("application/json;q=0.5, text/event-stream;q=0.9, application/x-ndjson;q=0.7", "sse"),
        ("text/event-stream;q=0.5, */*", "json"),
        ("text/event-stream, */*;q=0.1", "sse"),
        ("text/event-stream; charset=utf-8", "sse"),
        ("*/*, application/json;q=0", "sse"),
        ("application/json;q=0, application/*", "ndjson"),
        ("application/json;Q=0.2, application/x-ndjson;Q=0.3", "ndjson"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        (" , text/event-stream", "sse"),
    ],
)
def test_the_form_that_fits_best(accept, form):
    assert negotiate(accept, "json", ALL) == form


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "text/html",
        "application/json;q=0",
        "*/*;q=0",
        "application/json;q=nan",
        "application/json;q=2",
        "text/event-stream;q=-1",
        ";;;",
    ],
)
def test_nothing_fits(accept):
    with pytest.raises(NotAcceptable, match="ask for one of"):
        negotiate(accept, "json", ALL)


def test_the_default_of_events_is_a_stream_also_for_wide_ranges():
    assert negotiate("*/*", "sse", ALL) == "sse"
    assert negotiate("application/*", "sse", ALL) in ("json", "ndjson")
    assert negotiate("text/html, */*;q=0.1", "json", ("json", "html")) == "html"


@given(st.text())
def test_any_accept_header_is_answered(accept):
    try:
        assert negotiate(accept, "json", ALL) in ALL
    except NotAcceptable:
        assert accept.strip()


TYPES = {
    "application/json": "application/json",
    "text/event-stream": "text/event-stream; charset=utf-8",
    "application/x-ndjson": "application/x-ndjson",
}


@pytest.mark.parametrize(("accept", "told"), TYPES.items())
async def test_the_same_urls_in_every_form(tmp_path, accept, told):
    async with serving(tmp_path) as served:
        run = await served.start("count")
        log = await served.ended(run)
        for path in (f"/runs/{run}", f"/runs/{run}/events"):
            answer = await served.http.get(path, headers={"Accept": accept})
            assert answer.status_code == 200
            assert answer.headers["content-type"] == told
            assert "accept" in answer.headers["vary"].lower()
            if accept == "application/json":
                assert answer.json()["result"] == [0, 1, 2]
            else:
                assert answer.text.count('"seq":') == len(log)


async def test_several_accept_lines_count_together(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start("count")
        await served.ended(run)
        lines = [("Accept", "image/png"), ("Accept", "application/x-ndjson")]
        answer = await served.http.get(f"/runs/{run}", headers=lines)
        assert answer.headers["content-type"] == "application/x-ndjson"


async def test_406_comes_before_any_run_is_made(tmp_path):
    async with serving(tmp_path) as served:
        answer = await served.http.post(
            "/pipelines/count/runs", json={"n": 1}, headers={"Accept": "image/png"}
        )
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await served.http.get("/runs")).json()["runs"] == []


@pytest.mark.parametrize("place", ["Last-Event-ID", "last_event_id", "after"])
async def test_each_way_to_say_a_cursor(tmp_path, place):
    async with serving(tmp_path) as served:
        run = await served.start("count")
        last = len(await served.ended(run))

        async def behind(after):
            said = {place: str(after)}
            if place == "Last-Event-ID":
                return await served.http.get(f"/runs/{run}/events", headers=said)
            return await served.http.get(f"/runs/{run}/events", params=said)

        for after in (0, 1, last - 1):
            assert (await behind(after)).text.count("\nid: ") == last - after
        for after in (last, last + 5):
            assert (await behind(after)).status_code == 204


async def test_the_header_wins_since_an_eventsource_keeps_its_url(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start("count")
        last = len(await served.ended(run))
        answer = await served.http.get(
            f"/runs/{run}/events?after=0", headers={"Last-Event-ID": str(last - 1)}
        )
        assert answer.text.count("\nid: ") == 1


async def test_what_is_no_cursor_is_said_to_be_none(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start("count")
        await served.ended(run)
        for said in ["-1", "x", "1.5", "²", "9" * 30, " ", "0x1", "1e3"]:
            answer = await served.http.get(f"/runs/{run}/events", params={"after": said})
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (422, "input_invalid"), said
            assert problem["errors"][0]["field"] == "after"
