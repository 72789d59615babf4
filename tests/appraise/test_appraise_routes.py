"""The contract that this system's clients rely on, over a real socket: packets, fields, words."""

import base64
import json
from datetime import datetime

import pytest

from tests.appraise.conftest import PHONE, SESSION, body, by_type, lines
from tests.appraise.eyes import UNSEEN, picture
from tests.appraise.test_appraise_markup import runs_nothing

MIDDLE = {
    "AUTHENTICATION_RESULT",
    "CHARACTER_IDENTIFICATION",
    "PRICING_ANALYSIS",
    "DETAILED_ANALYSIS",
    "HTML_DISPLAY_DATA",
}


async def test_a_phone_gets_every_packet_to_the_field(open_server):
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        assert answer.status_code == 200
        for name, value in {
            "content-type": "application/json",
            "cache-control": "no-cache",
            "connection": "keep-alive",
            "access-control-allow-origin": "*",
            "access-control-allow-headers": "Content-Type, Authorization",
        }.items():
            assert answer.headers[name] == value
        assert all(len(line) < 8192 for line in answer.content.splitlines(keepends=True))
        packets = lines(answer.text)
        kinds = [packet["packetType"] for packet in packets]
        assert kinds[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
        assert kinds[-1] == "ANALYSIS_COMPLETE"
        assert set(kinds[2:-1]) == MIDDLE
        assert len(kinds) == 8
        for packet in packets:
            assert packet["sessionId"] == SESSION
            assert datetime.fromisoformat(packet["timestamp"]).tzinfo is not None
            assert "error" not in packet
        found = by_type(packets)
        verdict = found["AUTHENTICATION_RESULT"]
        assert verdict["authentic"] is True
        assert (verdict["authenticityRating"], verdict["confidence"]) == (91.5, 0.93)
        assert "note" not in verdict
        who = found["CHARACTER_IDENTIFICATION"]
        assert who["characters"] == "Ada, Bruno & Cleo"
        assert "Bruno &amp; Cleo" in who["identification"]
        assert "21.00 USD" in found["PRICING_ANALYSIS"]["pricing"]
        assert "Star of the &lt;North&gt;" in found["DETAILED_ANALYSIS"]["analysis"]
        end = found["ANALYSIS_COMPLETE"]
        assert (end["success"], end["complete"]) == (True, True)
        assert isinstance(end["id"], int)
        assert isinstance(end["processingTime"], int)
        assert end["processingTime"] >= 0
        assert end["message"] == "Pin analysis completed successfully"


async def test_display_pages_are_whole_safe_and_where_the_packet_says(open_server):
    photos = {view: ("p.jpg", picture(), "image/jpeg") for view in ("front_image", "back_image")}
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", files=photos, headers=PHONE)
        shown = by_type(lines(answer.text))["HTML_DISPLAY_DATA"]
        assert shown["angledHtml"] == ""
        assert "angledHtmlUrl" not in shown
        for view in ("front", "back"):
            assert shown[f"{view}HtmlUrl"] in shown[f"{view}Html"]
            page = await served.http.get(shown[f"{view}HtmlUrl"])
            assert page.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert len(page.content) == shown[f"{view}HtmlBytes"]
            seen = runs_nothing(page.text)
            assert "Star of the <North>" in seen.said
            assert seen.elements.count("img") == 2
            assert "image" in seen.elements
        front = runs_nothing((await served.http.get(shown["frontHtmlUrl"])).text)
        for said in ("Outline", "0.004", "21 ΔE", "limit 14", "differs", "It is <off>.", "91.5"):
            assert said in front.said
        assert front.elements.count("circle") == 5 + 2
        missing = await served.http.get(shown["frontHtmlUrl"] + "s")
        assert missing.status_code == 404
        assert missing.json()["success"] is False


async def test_a_desktop_gets_one_document(open_server):
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body())
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        found = answer.json()
        assert {
            "success", "sessionId", "id", "timestamp", "authentic", "authenticityRating",
            "characters", "identification", "analysis", "pricing", "message", "frontHtml",
            "backHtml", "angledHtml",
        } <= set(found)  # fmt: skip
        assert found["success"] is True
        assert found["sessionId"] == SESSION
        assert found["authentic"] is True
        assert found["frontHtml"].startswith("<!doctype html>")
        assert (found["backHtml"], found["angledHtml"]) == ("", "")
        assert "packetType" not in found


@pytest.mark.parametrize(
    "dress",
    [
        lambda data: {"json": {"frontImageData": base64.b64encode(data).decode()}},
        lambda data: {
            "json": {"frontImageData": "data:image/jpeg;base64," + base64.b64encode(data).decode()}
        },
        lambda data: {"json": {"frontImage": base64.b64encode(data).decode()}},
        lambda data: {"files": {"front_image": ("a.jpg", data, "image/jpeg")}},
    ],
    ids=["base64", "data-url", "other-name", "form"],
)
async def test_photos_come_in_every_form(open_server, dress):
    async with open_server() as served:
        for path in ("/mobile-upload", "/api/proxy/mobile-upload", "/api/analyze"):
            answer = await served.http.post(path, **dress(picture()))
            assert answer.status_code == 200, answer.text
            assert answer.json()["success"] is True
            session = answer.json()["sessionId"]
            assert len(session) == 12
            assert session.isdigit()


REFUSALS = [
    ({}, "Missing required fields: sessionId and frontImageData"),
    ({"sessionId": SESSION}, "Missing required fields: sessionId and frontImageData"),
    (body(sessionId="2611"), "Session ID must be 12-digit format"),
    (body(sessionId="26112008000x"), "Session ID must be 12-digit format"),
]


async def test_refusals_in_the_words_of_the_contract(open_server):
    async with open_server() as served:
        for sent, said in REFUSALS:
            answer = await served.http.post("/mobile-upload", json=sent)
            assert (answer.status_code, answer.json()) == (400, {"success": False, "error": said})
            phone = await served.http.post("/mobile-upload", json=sent, headers=PHONE)
            assert phone.status_code == 400
            assert (phone.json()["success"], phone.json()["error"]) == (False, said)
            if "frontImageData" not in sent:
                assert phone.json()["packetType"] == "ERROR"
                assert phone.json()["message"] == "Front image required"
        assert served.idle()


async def test_bodies_that_are_broken_name_the_field(open_server):
    async with open_server() as served:
        for sent, said in [
            ({"content": b"{nope"}, "the body is not JSON"),
            ({"json": {"frontImageData": "!!"}}, "frontImageData: is not base64"),
            ({"files": {"picture": ("a.jpg", b"x", "image/jpeg")}}, "picture: no such photo"),
        ]:
            answer = await served.http.post("/mobile-upload", **sent)
            assert answer.status_code == 400
            assert said in answer.json()["error"]


async def test_preflight_health_and_root(open_server):
    async with open_server() as served:
        answer = await served.http.options("/mobile-upload")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "Content-Type, x-api-key"
        assert answer.headers["access-control-max-age"] == "86400"
        for path in ("/health", "/api/proxy/health"):
            assert {"status", "timestamp", "port"} <= set((await served.http.get(path)).json())
        root = (await served.http.get("/")).json()
        assert {"service", "status", "timestamp", "endpoints"} <= set(root)
        config = (await served.http.get("/api/config")).json()
        assert config["limits"]["timeout"] == 90_000
        assert (await served.http.options("/api/feedback/all")).status_code == 200


# --- what goes wrong -----------------------------------------------------------------------------


async def test_no_match_is_said_in_every_part_and_is_no_verdict(open_server, told):
    told.seen = UNSEEN
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        found = by_type(lines(answer.text))
        verdict = found["AUTHENTICATION_RESULT"]
        assert (verdict["authentic"], verdict["authenticityRating"]) == (None, None)
        assert (verdict["confidence"], verdict["verdict"]) == (0, "undetermined")
        assert verdict["reason"] == "no_match"
        why = "no reference looks like it"
        assert why in verdict["note"]
        assert found["CHARACTER_IDENTIFICATION"]["characters"] == ""
        assert why in found["CHARACTER_IDENTIFICATION"]["identification"]
        assert why in found["PRICING_ANALYSIS"]["pricing"]
        assert why in found["DETAILED_ANALYSIS"]["analysis"]
        page = await served.http.get(found["HTML_DISPLAY_DATA"]["frontHtmlUrl"])
        assert why in page.text
        assert "No verdict" in page.text
        assert found["ANALYSIS_COMPLETE"]["message"] == "Pin analysis completed without a verdict"
        listed = (await served.http.get("/api/pins/all")).json()["pins"]
        assert listed[0]["authentic"] is None


async def test_a_failed_part_is_told_as_failed_and_the_rest_comes(open_server, told, monkeypatch):
    monkeypatch.setattr("millstream_apps.appraise.pipeline.priced", _no_price)
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        packets = lines(answer.text)
        found = by_type(packets)
        failed = found["PRICING_ANALYSIS"]
        assert (failed["failed"], failed["message"]) == (True, "the price list is <gone>")
        assert (
            "Pricing could not be determined: the price list is &lt;gone&gt;" in failed["pricing"]
        )
        assert set(found) > MIDDLE
        assert packets[-1]["failedParts"] == ["PRICING_ANALYSIS"]
        assert packets[-1]["success"] is True
        desktop = (await served.http.post("/api/analyze", json=body(sessionId=""))).json()
        assert desktop["failedParts"] == ["PRICING_ANALYSIS"]
        assert "could not be determined" in desktop["pricing"]


def _no_price(identified):
    from millstream import StepError

    raise StepError("the price list is <gone>", code="no_prices", retryable=False)


@pytest.mark.parametrize("fate", ["fail", "hang"])
async def test_the_cheaper_check_serves_and_says_so(open_server, told, fate):
    told.fates["authenticate"], told.seconds = fate, 0.2 if fate == "hang" else 20
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        verdict = by_type(lines(answer.text))["AUTHENTICATION_RESULT"]
        assert verdict["note"] == "Quick check: picture hash and colour only"
        assert (verdict["method"], verdict["confidence"]) == ("quick", 0.71)
        assert verdict["fallback"] is True
        told.release.set()


async def test_without_authenticity_there_is_an_error_and_no_verdict(open_server, told):
    told.fates |= {"authenticate": "fail", "authenticate_quickly": "fail"}
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        packets = lines(answer.text)
        assert "AUTHENTICATION_RESULT" not in by_type(packets)
        end = packets[-1]
        assert end["packetType"] == "ERROR"
        assert end["success"] is False
        assert end["message"] == "Authenticity analysis failed"
        assert end["error"] == "authenticate_quickly cannot <see>"
        assert "AUTHENTICATION_RESULT" in end["failedParts"]
        desktop = await served.http.post("/mobile-upload", json=body(sessionId=""))
        assert desktop.status_code == 500
        assert desktop.json()["success"] is False
        assert "authentic" not in desktop.json()


async def test_a_photo_that_is_none_is_the_clients_to_mend(open_server, told):
    told.fates["identify"] = "bad"
    async with open_server() as served:
        desktop = await served.http.post("/mobile-upload", json=body())
        assert desktop.status_code == 400
        assert desktop.json()["error"] == "frontImageData: is no picture"
        phone = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        assert lines(phone.text)[-1]["error"] == "frontImageData: is no picture"


async def test_the_deadline_is_an_error(open_server, told, monkeypatch):
    monkeypatch.setenv("APPRAISE_TIMEOUT", "0.5")
    from millstream_apps.appraise.settings import settings

    settings.cache_clear()
    told.fates["identify"] = "hang"
    async with open_server() as served:
        answer = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        end = lines(answer.text)[-1]
        assert (end["packetType"], end["message"]) == ("ERROR", "Analysis timed out")
        assert set(end["failedParts"]) == MIDDLE
        desktop = await served.http.post("/api/analyze", json=body(sessionId=""))
        assert desktop.status_code == 503
        assert set(desktop.json()) == {"success", "error", "message"}
        told.release.set()


# --- coming back ---------------------------------------------------------------------------------


async def test_a_phone_that_comes_back_finds_its_analysis(open_server, told):
    async with open_server() as served:
        first = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        again = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        assert again.headers["location"] == first.headers["location"]
        assert again.text == first.text
        assert told.calls.count("identify") == 1
        other = {"backImageData": base64.b64encode(picture(colour=(1, 2, 3))).decode()}
        pin = await served.http.post("/mobile-upload", json=body(**other), headers=PHONE)
        assert pin.headers["location"] != first.headers["location"]
        key = {"Idempotency-Key": "once"}
        keyed = [
            await served.http.post("/api/analyze", json=body(sessionId=""), headers=key)
            for _ in range(2)
        ]
        assert keyed[0].json() == keyed[1].json()
        assert keyed[0].json()["success"] is True
        clash = await served.http.post("/api/analyze", json=body(**other), headers=key)
        assert (clash.status_code, clash.json()["success"]) == (409, False)


async def test_a_session_whose_analysis_failed_gets_another(open_server, told):
    told.fates["identify"] = "bad"
    async with open_server() as served:
        cursor = 0
        for _ in range(7):
            failed = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
            assert lines(failed.text)[-1]["packetType"] == "ERROR"
            cursor = lines(failed.text)[-1]["cursor"]
        told.fates.clear()
        late = PHONE | {"Last-Event-ID": str(cursor)}
        again = await served.http.post("/mobile-upload", json=body(), headers=late)
        assert len(by_type(lines(again.text))) == 8, "a cursor of the failed one hides nothing"
        assert lines(again.text)[-1]["packetType"] == "ANALYSIS_COMPLETE"
        assert lines(again.text)[0]["sessionId"] == SESSION


async def test_each_cursor_gets_exactly_the_rest(open_server):
    async with open_server() as served:
        whole = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        packets = whole.text.splitlines(keepends=True)
        resume = json.loads(packets[0])["resume"]
        for seen, packet in enumerate(packets, start=1):
            cursor = json.loads(packet)["cursor"]
            rest = await served.http.get(resume, params={"after": cursor}, headers=PHONE)
            assert rest.text == "".join(packets[seen:])
            headers = {**PHONE, "Last-Event-ID": str(cursor)}
            posted = await served.http.post("/mobile-upload", json=body(), headers=headers)
            assert posted.text == rest.text


async def test_packets_leave_as_parts_are_done(open_server, told):
    told.fates["authenticate"] = "hang"
    async with (
        open_server() as served,
        served.stream("/mobile-upload", "POST", json=body(), headers=PHONE) as answer,
    ):
        seen = []
        async for line in answer.aiter_lines():
            seen.append(json.loads(line)["packetType"])
            if set(seen) >= {"PRICING_ANALYSIS", "CHARACTER_IDENTIFICATION", "DETAILED_ANALYSIS"}:
                told.release.set()
        assert seen[-1] == "ANALYSIS_COMPLETE"
        assert seen.index("AUTHENTICATION_RESULT") > seen.index("PRICING_ANALYSIS")
