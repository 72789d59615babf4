"""A phone on a bad network: every packet comes, once, and ANALYSIS_COMPLETE last.

The network is simulated by the test kit's proxy on real sockets, with time running many times as
fast: a jitter of 0 to 2 s, the rates of 3G, and connections cut after so many bytes.
"""

import json
import random
from contextlib import suppress

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.testing.proxy import MOBILE_3G, Proxy
from tests.appraise.conftest import PHONE, body, by_type, lines
from tests.appraise.test_appraise_routes import MIDDLE

FASTER = 200
"""A second of the phone's passes in 5 ms."""


async def everything(port: int) -> tuple[list[dict], int]:
    """What a phone does that was told nothing but to come back: send the same again, with the
    cursor of the last whole packet. Its packets, and how many connections it took."""
    packets, tries = [], 0
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        while not packets or packets[-1]["packetType"] != "ANALYSIS_COMPLETE":
            tries += 1
            assert tries < 60, packets
            after = {"Last-Event-ID": str(packets[-1]["cursor"])} if packets else {}
            with suppress(httpx.TransportError):
                await take(http, {**PHONE, **after}, packets)
    return packets, tries


async def take(http, headers, packets):
    """One connection's packets, as far as it goes."""
    async with http.stream("POST", "/mobile-upload", json=body(), headers=headers) as answer:
        assert answer.status_code == 200
        async for line in whole_lines(answer):
            packets.append(json.loads(line))


async def whole_lines(answer):
    """Lines that have come to their end: what was cut in the middle is not yet a packet."""
    rest = b""
    async for data in answer.aiter_raw():
        *found, rest = (rest + data).split(b"\n")
        for line in found:
            yield line


@pytest.mark.parametrize("seed", range(3))
async def test_jitter_and_slow_rates_lose_nothing(open_server, seed):
    async with open_server() as served:
        chance = random.Random(seed).random
        network = MOBILE_3G.faster(FASTER)
        async with Proxy(port=served.port, network=network, chance=chance) as proxy:
            packets, tries = await everything(proxy.port)
        assert tries == 1
        assert set(by_type(packets)) == {
            "CONNECTION_ESTABLISHED", "PROCESSING_STARTED", *MIDDLE, "ANALYSIS_COMPLETE",
        }  # fmt: skip


@given(cuts=st.lists(st.integers(1, 2500), min_size=1, max_size=12), seed=st.integers(0, 99))
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_cuts_anywhere_lose_nothing_and_repeat_nothing(open_server, told, cuts, seed):
    async with open_server() as served:
        straight = await served.http.post("/mobile-upload", json=body(), headers=PHONE)
        chance = random.Random(seed).random
        network = MOBILE_3G.faster(4 * FASTER)
        async with Proxy(port=served.port, network=network, chance=chance, cuts=cuts) as proxy:
            packets, _ = await everything(proxy.port)
        assert [packet["cursor"] for packet in packets] == [
            packet["cursor"] for packet in lines(straight.text)
        ]
        assert len(by_type(packets)) == 8


async def test_a_cut_while_parts_are_still_made(open_server, told):
    """The first connection is cut after the early parts; the rest is made while nobody reads."""
    told.fates["authenticate"] = "hang"
    async with open_server() as served, Proxy(port=served.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/mobile-upload"
        seen = []
        async with httpx.AsyncClient(timeout=20) as http:
            with suppress(httpx.TransportError):
                async with http.stream("POST", url, json=body(), headers=PHONE) as answer:
                    async for line in whole_lines(answer):
                        seen.append(json.loads(line))
                        if seen[-1]["packetType"] == "PRICING_ANALYSIS":
                            proxy.cut()
        assert "ANALYSIS_COMPLETE" not in by_type(seen)
        run = seen[0]["runId"]
        told.release.set()
        await served.app.service.outcome(run)
        resume = f"/mobile-upload/{run}"
        rest = await served.http.get(resume, params={"after": seen[-1]["cursor"]}, headers=PHONE)
        packets = [*seen, *lines(rest.text)]
        assert len(by_type(packets)) == 8
        assert packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
        assert told.calls.count("identify") == 1


async def test_a_client_without_streaming_parses_the_whole(open_server):
    """Some phones' fetch has no body stream: they take the text at the end and split it."""
    async with open_server() as served:
        network = MOBILE_3G.faster(FASTER)
        async with (
            Proxy(port=served.port, network=network, chance=random.Random(5).random) as proxy,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}", timeout=20) as http,
        ):
            answer = await http.post("/mobile-upload", json=body(), headers=PHONE)
        packets = lines(answer.text)
        assert len(by_type(packets)) == 8
        assert packets[-1]["packetType"] == "ANALYSIS_COMPLETE"
