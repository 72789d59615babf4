"""Runs as resources: read, listed, followed, cancelled."""

import asyncio

import pytest
from serving import NDJSON, SSE, serving, sse, types

DOCUMENT = {
    "id",
    "pipeline",
    "state",
    "tier",
    "created",
    "started",
    "ended",
    "seq",
    "result",
    "partial",
    "missing",
    "error",
}


async def test_a_runs_document_as_of_now(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start(text="one three")
        served.gate.let()
        await served.until(lambda: served.last(run) >= 6)
        document = (await served.http.get(f"/runs/{run}")).json()
        assert set(document) == DOCUMENT
        assert (document["state"], document["ended"]) == ("running", None)
        served.gate.let()
        await served.ended(run)
        document = (await served.http.get(f"/runs/{run}")).json()
        assert (document["state"], document["result"]) == ("completed", 8)


async def test_a_run_that_there_is_not(tmp_path):
    async with serving(tmp_path) as served:
        for path in ("/runs/nope", "/runs/nope/events", "/runs/%00", "/runs/%ff%fe/events"):
            for headers in ({}, SSE, NDJSON):
                answer = await served.http.get(path, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await served.http.delete("/runs/nope")).status_code == 404
        assert served.idle()


# --- the list ------------------------------------------------------------------------------------


async def test_runs_are_listed_newest_first_page_by_page(tmp_path):
    async with serving(tmp_path) as served:
        started = [await served.start("count", n=1) for _ in range(7)]
        seen, before = [], None
        while True:
            params = {"limit": 3} | ({"before": before} if before else {})
            page = (await served.http.get("/runs", params=params)).json()
            seen += [run["id"] for run in page["runs"]]
            before = page["next"]
            if before is None:
                break
        assert seen == started[::-1]


async def test_the_list_is_filtered(tmp_path):
    async with serving(tmp_path) as served:
        counted, broken = await served.start("count"), await served.start("broken")
        held = await served.start("talk")
        await asyncio.gather(served.ended(counted), served.ended(broken))
        await served.reached(held, "running")

        async def ids(**params):
            page = await served.http.get("/runs", params=params)
            return [run["id"] for run in page.json()["runs"]]

        assert await ids(pipeline="count") == [counted]
        assert await ids(state="failed") == [broken]
        assert await ids(state="running") == [held]
        assert await ids(state="running", pipeline="count") == []
        assert await ids(before="unknown") == []


@pytest.mark.parametrize(
    ("name", "value"), [("state", "dead"), ("limit", "0"), ("limit", "501"), ("limit", "x")]
)
async def test_a_filter_that_does_not_fit(tmp_path, name, value):
    async with serving(tmp_path) as served:
        answer = await served.http.get("/runs", params={name: value})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "input_invalid")
        assert problem["errors"][0]["field"] == name


async def test_pipelines_say_what_they_take(tmp_path):
    async with serving(tmp_path) as served:
        listed = (await served.http.get("/pipelines")).json()["pipelines"]
        assert [each["name"] for each in listed] == ["talk", "count", "measure", "broken"]
        talk = (await served.http.get("/pipelines/talk")).json()
        assert talk == listed[0]
        assert talk["input"]["required"] == ["text"]
        assert [step["name"] for step in talk["steps"]] == ["word", "length", "total"]
        assert talk["outputs"] == ["total"]
        fields = (await served.http.get("/pipelines/measure")).json()["fields"]
        assert {"name": "files", "file": True, "many": True} in fields
        assert (await served.http.get("/pipelines/nope")).status_code == 404


# --- DELETE --------------------------------------------------------------------------------------


async def test_cancel_a_run_that_is_worked_on(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start()
        await served.reached(run, "running")
        answer = await served.http.delete(f"/runs/{run}", params={"reason": "enough"})
        assert answer.status_code == 202
        last = (await served.ended(run))[-1]
        assert (last["type"], last["data"]) == (
            "run.cancelled",
            {"by": "client", "reason": "enough"},
        )
        again = await served.http.delete(f"/runs/{run}")
        assert (again.status_code, again.json()["state"]) == (200, "cancelled")
        assert (await served.log(run))[-1] == last, "the first one counts"


async def test_cancel_a_run_that_waits(tmp_path):
    async with serving(tmp_path, max_runs=1) as served:
        await served.start()
        waiting = await served.start()
        assert await served.state(waiting) == "queued"
        assert (await served.http.delete(f"/runs/{waiting}")).status_code == 202
        told = types(await served.ended(waiting))
        assert (told[0], told[-1]) == ("run.queued", "run.cancelled")
        assert not [kind for kind in told if kind.startswith("step.")], "no work was done"


async def test_cancel_a_run_that_has_ended(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start("count")
        log = await served.ended(run)
        answer = await served.http.delete(f"/runs/{run}")
        assert (answer.status_code, answer.json()["state"]) == (200, "completed")
        assert await served.log(run) == log


async def test_a_follower_hears_of_the_cancellation(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start()
        async with served.stream(f"/runs/{run}/events") as answer:
            await served.http.delete(f"/runs/{run}", params={"reason": "x" * 2000})
            told = [event async for _, event, _ in sse(answer.aiter_lines())]
        assert told[-1]["type"] == "run.cancelled"
        assert len(told[-1]["data"]["reason"]) == 500
