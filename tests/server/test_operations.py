"""What operators and other programs ask: health, metrics, methods, defects."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import make_app, positions, serving

from millstream.errors import StoreError
from millstream.stores.memory import MemoryStore


async def test_health_and_readiness(tmp_path):
    async with serving(tmp_path) as served:
        health = await served.http.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        ready = await served.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": None})
        assert (await served.http.get("/health")).json()["status"] == "healthy"


async def test_not_ready_while_draining(tmp_path):
    async with serving(tmp_path) as served:
        await served.app.engine_drained()
        ready = await served.http.get("/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "shutting down")
        assert (await served.http.get("/health")).json()["status"] == "degraded"
        assert (await served.http.get("/healthz")).status_code == 200
        refused = await served.http.post("/pipelines/count/runs", json={"n": 1})
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["retryable"] is True


class BrokenStore(MemoryStore):
    """Out of reach when `down`."""

    down = False

    async def runs(self, **more):
        self._check()
        return await super().runs(**more)

    async def read(self, *values, **more):
        self._check()
        return await super().read(*values, **more)

    def _check(self):
        if self.down:
            raise StoreError("the store is out of reach")


async def test_not_ready_while_the_store_is_out_of_reach(tmp_path):
    store = BrokenStore()
    async with serving(tmp_path, store=store) as served:
        run = await served.start("count")
        await served.ended(run)
        store.down = True
        ready = await served.http.get("/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the store is out of reach")
        for path in ("/runs", f"/runs/{run}", f"/runs/{run}/events"):
            answer = await served.http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        store.down = False
        assert (await served.http.get("/readyz")).status_code == 200


async def test_metrics_are_read_by_a_parser_of_prometheus(tmp_path):
    async with serving(tmp_path) as served:
        await served.ended(await served.start("count"))
        await served.ended(await served.start("broken"))
        answer = await served.http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        assert samples["millstream_runs_created_total", "count"] == 1
        assert samples["millstream_run_seconds_count", "broken", "failed"] == 1
        assert samples["millstream_run_seconds_count", "completed", "count"] == 1
        assert samples["millstream_step_seconds_count", "count", "done", "number"] == 1
        logs = [len(await served.log(run)) for run in await self_runs(served)]
        assert samples["millstream_events_total",] == sum(logs) - 2  # `create` keeps the first
        for name in ("runs_active", "streams_open", "sockets_open", "readers", "tails"):
            assert samples[f"millstream_{name}",] == 0, name


async def self_runs(served):
    return [run["id"] for run in (await served.http.get("/runs")).json()["runs"]]


async def test_status_counts_what_is_open(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start()
        async with served.stream(f"/runs/{run}/events") as answer, served.socket():
            lines = answer.aiter_lines()
            assert await anext(lines)
            status = (await served.http.get("/status")).json()
            assert (status["runs_active"], status["streams_open"]) == (1, 1)
            assert (status["sockets_open"], status["readers"]) == (1, 1)
            assert status["draining"] is False
        await served.until(served.idle)


async def test_two_applications_in_one_process_keep_to_themselves(tmp_path):
    one, two = make_app(tmp_path / "1"), make_app(tmp_path / "2")
    async with (
        serving(tmp_path, app=one) as first,
        serving(tmp_path, app=two) as second,
    ):
        run = await first.start("count")
        assert positions(await first.ended(run)) == list(range(1, len(await first.log(run)) + 1))
        assert (await second.http.get(f"/runs/{run}")).status_code == 404
        assert (
            'runs_created_total{pipeline="count"}' not in (await second.http.get("/metrics")).text
        )


# --- methods -------------------------------------------------------------------------------------


async def test_head_is_get_without_a_body(tmp_path):
    async with serving(tmp_path) as served:
        run = await served.start()
        for path in ("/healthz", "/pipelines", f"/runs/{run}", "/nope", "/runs/nope/events"):
            head, get = await served.http.head(path), await served.http.get(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
            assert head.headers["content-length"] == get.headers["content-length"]
        stream = await served.http.head(f"/runs/{run}/events")
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.content == b""
        await served.until(served.idle)
        assert (await served.http.get("/healthz")).status_code == 200


async def test_other_methods_are_refused_with_those_that_there_are(tmp_path):
    async with serving(tmp_path) as served:
        cases = [("OPTIONS", "/runs", "GET"), ("PUT", "/runs/x", None), ("GET", "/nope", None)]
        for method, path, allowed in cases:
            answer = await served.http.request(method, path)
            code = "not_found" if path == "/nope" else "method_not_allowed"
            assert answer.json()["code"] == code
            assert answer.headers["content-type"] == "application/problem+json"
            if allowed:
                assert answer.headers["allow"] == allowed


async def test_a_defect_of_ours_is_a_problem_without_its_insides(tmp_path, monkeypatch):
    async with serving(tmp_path, quiet=False) as served:

        def broken(name):
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr(served.app.engine, "graph", broken)
        answer = await served.http.get("/pipelines/talk")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
        assert "Zero" not in answer.text


class NoStore(MemoryStore):
    async def open(self):
        raise StoreError("there is no store")


async def test_a_server_that_cannot_open_its_store_says_just_that(tmp_path):
    app = make_app(tmp_path, store=NoStore())
    with pytest.raises(StoreError, match="there is no store"):
        async with serving(tmp_path, app=app):
            pass
    assert app._not_ready() == "starting"
    await app.engine.blobs.close()
