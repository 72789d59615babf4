"""POST: what starts a run, what is refused and how that is said, and what is the same run."""

import asyncio
import json

import httpx
import pytest
from serving import NDJSON, SSE, kept, positions, serving, sse

JSON = {"Content-Type": "application/json"}


async def post(served, pipeline="count", **more):
    return await served.http.post(f"/pipelines/{pipeline}/runs", **more)


async def test_every_form_bears_the_runs_location(tmp_path):
    async with serving(tmp_path) as served:
        for headers in ({}, SSE, NDJSON, {"Prefer": "respond-async"}):
            answer = await post(served, json={"n": 2}, headers=headers)
            location = answer.headers["location"]
            assert location.startswith("/runs/")
            document = (await served.http.get(location)).json()
            assert document["id"] == location.removeprefix("/runs/")


async def test_json_waits_for_the_outcome(tmp_path):
    async with serving(tmp_path) as served:
        document = (await post(served, json={"n": 3})).json()
        assert (document["state"], document["result"]) == ("completed", [0, 1, 2])
        broken = (await post(served, "broken", json={"text": "x"})).json()
        assert (broken["state"], broken["error"]["code"]) == ("failed", "never")


async def test_respond_async_answers_at_once(tmp_path):
    async with serving(tmp_path) as served:
        for wish in ("respond-async", "handling=lenient, Respond-Async; x=1"):
            answer = await post(
                served, "talk", json={"text": "held"}, headers={"Prefer": wish, **SSE}
            )
            assert answer.status_code == 202
            assert answer.headers["preference-applied"] == "respond-async"
            assert answer.json()["state"] in ("queued", "running")


async def test_a_form_with_files(tmp_path):
    async with serving(tmp_path) as served:
        files = [("files", ("a.bin", b"12345")), ("files", ("b.bin", b"1234567"))]
        document = (await post(served, "measure", data={"note": "x"}, files=files)).json()
        assert document["result"] == [5, 7]


async def test_a_pipeline_takes_forms_for_plain_fields_too(tmp_path):
    async with serving(tmp_path) as served:
        answer = await post(served, files={"n": (None, "2")})
        assert answer.json()["result"] == [0, 1]


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"", 422, "input_invalid", "n: is missing"),
        (b"{", 422, "input_invalid", "the body is not JSON"),
        (b"[1]", 422, "input_invalid", "the body must be an object"),
        (b"\xff\xfe", 422, "input_invalid", "not JSON"),
        (b'{"n":"x"}', 422, "input_invalid", "n: "),
        (b'{"m":1}', 422, "input_invalid", 'no such field; send {"n": '),
        (b'{"n":1,"nn":1}', 422, "input_invalid", "did you mean 'n'"),
        (b'{"n":' * 100_000, 400, "bad_request", "nested too deeply"),
        (b'{"n":1' + b" " * 3000 + b"}", 413, "too_large", "2 kB"),
    ],
)
async def test_a_body_that_does_not_fit(tmp_path, body, status, code, said):
    limit = 2048 if code == "too_large" else 2**20
    async with serving(tmp_path, json_bytes=limit) as served:
        answer = await post(served, content=body, headers=JSON)
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
        assert said in problem["detail"]
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["retryable"] is False


async def test_a_body_without_a_length_is_limited_too(tmp_path):
    async def chunks():
        for _ in range(10):
            yield b" " * 1000

    async with serving(tmp_path, json_bytes=2048) as served:
        answer = await post(served, content=chunks(), headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_type_that_is_not_read(tmp_path):
    async with serving(tmp_path) as served:
        for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded"):
            answer = await post(served, content=b"n=1", headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        answer = await post(
            served, content=b'{"n":1}', headers={"Content-Type": "application/ld+json"}
        )
        assert answer.json()["result"] == [0]


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"files": {"file": b"1"}}, 422, "`files`"),
        ({"files": {"note": (None, "x")}}, 422, "files"),
        ({"files": {"files": (None, "text")}}, 422, "a file is expected"),
        ({"files": {"files": b"1" * 2000}}, 413, "limit of 1 kB a file"),
        ({"files": [("files", b"1")] * 4}, 413, "more than 3 files"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
        ({"json": {"files": ["x"]}}, 422, "multipart/form-data"),
    ],
)
async def test_a_form_that_does_not_fit_leaves_no_file(tmp_path, form, status, said):
    async with serving(tmp_path, file_bytes=1024, files=3) as served:
        answer = await post(served, "measure", **form)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
        assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "0"),
        ("timeout", "-1"),
        ("timeout", "nan"),
        ("timeout", "inf"),
        ("timeout", "soon"),
        ("unwatched", "x"),
        ("on_disconnect", "explode"),
        ("after", "x"),
    ],
)
async def test_an_option_that_does_not_fit_starts_nothing(tmp_path, name, value):
    async with serving(tmp_path) as served:
        answer = await post(served, json={"n": 1}, params={name: value})
        problem = answer.json()
        assert (answer.status_code, problem["errors"][0]["field"]) == (422, name)
        assert (await served.http.get("/runs")).json()["runs"] == []


async def test_an_unknown_pipeline_is_told_with_those_that_there_are(tmp_path):
    async with serving(tmp_path) as served:
        answer = await post(served, "cuont", json={"n": 1})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "count" in answer.json()["detail"]


# --- options -------------------------------------------------------------------------------------


async def test_timeout_is_the_runs_deadline(tmp_path):
    async with serving(tmp_path) as served:
        document = (
            await post(served, "talk", json={"text": "held"}, params={"timeout": 0.2})
        ).json()
        assert (document["state"], document["error"]["code"]) == ("failed", "deadline_exceeded")


async def test_a_run_that_nobody_watches_is_cancelled(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start(unwatched=0.2)
        await served.reached(run, "cancelled")
        ended = (await served.log(run))[-1]
        assert ended["type"] == "run.cancelled"
        assert ended["data"] == {"by": "server", "reason": "nobody has watched it for 0.2 s"}


# --- the same run --------------------------------------------------------------------------------


async def test_the_same_key_is_the_same_run(tmp_path):
    async with serving(tmp_path) as served:
        key = {"Idempotency-Key": "k1"}
        first = await post(served, json={"n": 2}, headers=key)
        again = await post(served, content=b'{ "n" : 2 }', headers={**JSON, **key})
        assert first.headers["location"] == again.headers["location"]
        assert first.json() == again.json()
        streamed = await post(served, json={"n": 2}, headers={**key, **SSE})
        assert streamed.headers["location"] == first.headers["location"]
        after = first.json()["seq"] - 1
        rest = await post(served, json={"n": 2}, headers={**key, **NDJSON}, params={"after": after})
        assert rest.text.count('"seq":') == 1
        had = {**key, **SSE, "Last-Event-ID": str(after + 1)}
        assert (await post(served, json={"n": 2}, headers=had)).status_code == 204


async def test_a_key_with_other_input_is_a_conflict(tmp_path):
    async with serving(tmp_path) as served:
        key = {"Idempotency-Key": "k1"}
        first = await post(served, json={"n": 2}, headers=key)
        other = await post(served, json={"n": 3}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "conflict")
        assert first.headers["location"].removeprefix("/runs/") in other.json()["detail"]
        elsewhere = await post(served, "broken", json={"text": "x"}, headers=key)
        assert elsewhere.status_code == 200, "a key is its pipeline's own"
        for bad in ("", "x" * 256):
            answer = await post(served, json={"n": 2}, headers={"Idempotency-Key": bad})
            assert answer.status_code == 422


async def test_many_at_once_with_one_key_are_one_run(tmp_path):
    async with serving(tmp_path) as served:
        key = {"Idempotency-Key": "k1", "Prefer": "respond-async"}
        files = {"files": ("a", b"123")}
        answers = await asyncio.gather(
            *(post(served, "measure", files=files, headers=key) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.headers["location"] for answer in answers}) == 1
        assert len(kept(tmp_path)) == 1, "the uploads of those that came second are gone"
        assert len((await served.http.get("/runs")).json()["runs"]) == 1


async def test_fields_named_blob_are_part_of_the_input(tmp_path):
    from millstream.server.service import fingerprint

    plain = [fingerprint(json.dumps({"blob": n}).encode()) for n in (1, 2)]
    assert plain[0] != plain[1]
    files = [{"blob": n, "sha256": "s", "filename": "f"} for n in (1, 2)]
    assert len({fingerprint(json.dumps(file).encode()) for file in files}) == 1


# --- first bytes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [SSE, NDJSON])
async def test_the_first_bytes_leave_before_any_work(tmp_path, headers):
    async with serving(tmp_path) as served:
        body = {"json": {"text": "held back"}, "headers": headers}
        async with served.stream("/pipelines/talk/runs", "POST", **body) as answer:
            assert answer.status_code == 200
            lines = answer.aiter_lines()
            seen = ""
            while "run.queued" not in seen:
                seen += await anext(lines)
            assert "step.partial" not in seen
            served.gate.let(2)


async def test_headers_of_a_json_answer_leave_at_once_too(tmp_path):
    async with serving(tmp_path) as served:
        body = {"json": {"text": "held"}}
        async with served.stream("/pipelines/talk/runs", "POST", **body) as answer:
            run = answer.headers["location"].removeprefix("/runs/")
            assert await served.state(run) in ("queued", "running")
            served.gate.let()
            assert json.loads(await answer.aread())["result"] == 4


async def test_a_stream_is_the_log_and_ends(tmp_path):
    async with serving(tmp_path) as served:
        served.gate.let(3)
        body = {"json": {"text": "one two three"}, "headers": SSE}
        async with served.stream("/pipelines/talk/runs", "POST", **body) as answer:
            told = [event async for _, event, _ in sse(answer.aiter_lines())]
        run = told[0]["run"]
        assert told == await served.log(run)
        assert positions(told) == list(range(1, len(told) + 1))
        await served.until(served.idle)


async def test_a_client_that_leaves_within_its_body_is_no_error_of_ours(tmp_path):
    async with serving(tmp_path) as served:

        async def half():
            yield b'{"n"'
            raise httpx.WriteError("the client breaks off")

        with pytest.raises(httpx.WriteError):
            await post(served, content=half(), headers=JSON)
        assert (await served.http.get("/runs")).json()["runs"] == []
