"""With keys configured, nobody without one starts, sees or says anything; pages need no key."""

from tests.appraise.conftest import PHONE, body, by_type, lines

KEYS = ("ada:key-of-ada-0123456789abcdef", "bob:key-of-bob-0123456789abcdef")
ADA, BOB = ({"X-API-Key": key.partition(":")[2]} for key in KEYS)
REFUSED = {"success": False, "error": "Invalid API key"}


async def test_without_the_right_key_there_is_a_401(open_server):
    async with open_server(api_keys=KEYS) as served:
        for headers in ({}, {"x-api-key": "wrong"}, {"Authorization": "Bearer wrong"}):
            for method, path in [
                ("POST", "/mobile-upload"),
                ("POST", "/api/proxy/mobile-upload"),
                ("POST", "/api/analyze"),
                ("POST", "/api/mobile/verify-pin"),
                ("GET", "/api/pins/all"),
                ("GET", "/api/catalogue"),
                ("GET", "/mobile-upload/some-run"),
            ]:
                answer = await served.http.request(method, path, headers=headers)
                assert (answer.status_code, answer.json()) == (401, REFUSED), path
        for path in ("/health", "/api/proxy/health", "/api/config"):
            assert (await served.http.get(path)).status_code == 200
        assert (await served.http.options("/mobile-upload")).status_code == 200


async def test_each_owner_has_their_own(open_server):
    async with open_server(api_keys=KEYS) as served:
        sent = await served.http.post("/mobile-upload", json=body(), headers=PHONE | ADA)
        packets = lines(sent.text)
        found = by_type(packets)
        resume = packets[0]["resume"]
        assert (await served.http.get(resume, headers=ADA)).text == sent.text
        theirs = await served.http.get(resume, headers=BOB)
        assert theirs.status_code == 404
        again = await served.http.post("/mobile-upload", json=body(), headers=PHONE | BOB)
        assert again.headers["location"] != sent.headers["location"]

        mine = (await served.http.get("/api/pins/all", headers=ADA)).json()["pins"]
        assert [pin["id"] for pin in mine] == [found["ANALYSIS_COMPLETE"]["id"]]
        word = {"recordNumber": mine[0]["id"], "userAgreement": "agree"}
        stranger = await served.http.post("/api/mobile/confirm-pin", json=word, headers=BOB)
        assert stranger.status_code == 404
        owner = await served.http.post("/api/mobile/confirm-pin", json=word, headers=ADA)
        assert owner.json()["status"] == "confirmed"

        page = await served.http.get(found["HTML_DISPLAY_DATA"]["frontHtmlUrl"])
        assert page.status_code == 200  # its address is known to nobody else
