"""Verify, confirm, feedback and listings, over a real socket."""

import pytest

from tests.appraise.conftest import SESSION, body


@pytest.fixture
def verify():
    async def verified(served, **more):
        front = body()["frontImageData"]
        sent = {"frontImageBase64": front, **more}
        answer = await served.http.post("/api/mobile/verify-pin", json=sent)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return verified


async def test_verify_then_confirm(open_server, verify):
    async with open_server() as served:
        pin = await verify(served, sessionId=SESSION)
        assert pin["success"] is True
        assert pin["authentic"] is True
        assert pin["sessionId"] == SESSION
        assert pin["recordNumber"] == pin["id"]
        assert pin["pinId"] == f"pin-{pin['id']}"
        run = (await served.http.get(f"/runs/{pin['requestId']}")).json()
        assert run["state"] == "completed"
        assert run["result"]["id"] == pin["id"]

        open_pins = (await served.http.get("/api/mobile/provisional-pins")).json()
        assert [each["recordNumber"] for each in open_pins["pins"]] == [pin["id"]]
        assert open_pins["count"] == 1
        word = {
            "recordNumber": pin["recordNumber"],
            "pinId": pin["pinId"],
            "userAgreement": "disagree",
            "feedbackComment": "the back is wrong",
        }
        confirmed = (await served.http.post("/api/mobile/confirm-pin", json=word)).json()
        assert (confirmed["success"], confirmed["status"]) == (True, "disputed")
        assert (await served.http.get("/api/mobile/provisional-pins")).json()["pins"] == []
        said = (await served.http.get(f"/api/feedback/analysis/{pin['id']}")).json()
        assert [(s["userAgreement"], s["feedbackComment"]) for s in said["feedback"]] == [
            ("disagree", "the back is wrong")
        ]
        everything = (await served.http.get("/api/pins/all")).json()["pins"]
        assert everything[0]["state"] == "disputed"
        assert everything[0]["name"] == "Star of the <North>"
        assert everything[0]["parts"]["pricing"]["summary"]["median"] == "21.00"


async def test_feedback_is_kept_and_listed_by_pages(open_server, verify):
    async with open_server() as served:
        pins = [await verify(served, sessionId=f"26112008000{n}") for n in range(3)]
        for number, pin in enumerate(pins):
            word = {
                "analysisId": pin["id"],
                "userAgreement": "agree",
                "feedbackComment": str(number),
            }
            answer = (await served.http.post("/api/feedback", json=word)).json()
            assert answer["success"] is True
            assert answer["pinId"] == pin["pinId"]
        found = (await served.http.get("/api/feedback/all", params={"limit": 2})).json()
        assert [each["feedbackComment"] for each in found["feedback"]] == ["2", "1"]
        last = found["feedback"][-1]["id"]
        rest = (await served.http.get("/api/feedback/all", params={"before": last})).json()
        assert [each["feedbackComment"] for each in rest["feedback"]] == ["0"]
        newest = (await served.http.get("/api/pins/all", params={"limit": 1})).json()["pins"]
        assert [each["id"] for each in newest] == [pins[-1]["id"]]


NONSENSE = [
    ({}, "Missing required field: recordNumber"),
    ({"recordNumber": "x"}, "recordNumber: 'x' is not a number"),
    ({"recordNumber": 1, "pinId": "pin-2"}, "pinId: 'pin-2' is not the pin of recordNumber 1"),
    ({"pinId": "star"}, "pinId: 'star' is no pin id; send it as the analysis gave it"),
    ({"recordNumber": 1}, "userAgreement: must be 'agree' or 'disagree'"),
    (
        {"recordNumber": 1, "userAgreement": "yes"},
        "userAgreement: must be 'agree' or 'disagree'",
    ),
    (
        {"recordNumber": 1, "userAgreement": "agree", "feedbackComment": "x" * 5000},
        "feedbackComment: at most 4000 characters",
    ),
]


async def test_words_that_make_no_sense_are_refused(open_server):
    async with open_server() as served:
        for word, said in NONSENSE:
            answer = await served.http.post("/api/mobile/confirm-pin", json=word)
            assert (answer.status_code, answer.json()) == (400, {"success": False, "error": said})


async def test_unknown_analyses_are_not_found(open_server):
    async with open_server() as served:
        word = {"analysisId": 99, "userAgreement": "agree"}
        given = await served.http.post("/api/feedback", json=word)
        told = await served.http.get("/api/feedback/analysis/99")
        for answer in (given, told):
            assert answer.status_code == 404
            assert answer.json() == {"success": False, "error": "there is no analysis 99"}
        wrong = await served.http.get("/api/pins/all", params={"limit": 0})
        assert wrong.status_code == 400
        assert "limit" in wrong.json()["error"]
