"""Clients that we did not write follow a run, are cut off again and again, and end with the log.

Each comes through a proxy that cuts its connections after so many bytes. In the second form the
server is killed meanwhile (kill -9), and started again on the same port over the same store. It is
one server for all of them.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator

import pytest
from programs import (
    HERE,
    PATIENCE,
    ServerProcess,
    browser,
    node,
    program,
    read_log,
    server,
    start_run,
)
from sse_blocks import blocks

from millstream.testing.proxy import Proxy

COUNT = 150
TYPES = ["run.queued", "run.started", "step.started", "step.partial", "step.result"]
TYPES += ["step.failed", "step.progress", "run.completed", "run.failed", "run.cancelled"]
ENDED = ("run.completed", "run.failed", "run.cancelled")

Tell = Callable[[int], None]
"""A client tells how many events it has; 0 when it is about to begin."""


async def curl(folder, url, run, tell: Tell) -> list[dict]:
    """`curl -N`, once more with the last id whenever it ends."""
    command = program("curl")
    tell(0)
    told: list[dict] = []
    while not told or told[-1]["type"] not in ENDED:
        process = await asyncio.create_subprocess_exec(
            command,
            "-sN",
            "-H",
            f"Last-Event-ID: {told[-1]['seq'] if told else 0}",
            f"{url}/runs/{run}/events",
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async for event in blocks(process.stdout):
            told.append(event)
            tell(len(told))
        if await process.wait() != 0:  # cut off, or nobody there
            await asyncio.sleep(0.05)
    return told


async def fetch(folder, url, run, tell: Tell) -> list[dict]:
    """node's fetch, which reads the stream by itself."""
    tell(0)
    process = await asyncio.create_subprocess_exec(
        node(),
        str(HERE / "follow.mjs"),
        url,
        run,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    told = []
    async for line in process.stdout:
        told.append(json.loads(line))
        tell(len(told))
    assert await process.wait() == 0
    return told


EVENT_SOURCE = """
window.told = []; window.ended = false;
const source = new EventSource("/runs/RUN/events");
for (const type of TYPES) source.addEventListener(type, (event) => told.push(event.data));
source.onerror = () => { ended = source.readyState === EventSource.CLOSED; };
"""

WEB_SOCKET = """
window.told = []; window.ended = false; let cursor = 0;
(function connect() {
  const socket = new WebSocket(`ws://${location.host}/socket`);
  socket.onopen = () =>
    socket.send(JSON.stringify({type: "subscribe", run: "RUN", after: cursor}));
  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.seq === undefined) return;
    told.push(message.data);
    cursor = event.seq;
    if (ENDED.includes(event.type)) { ended = true; socket.close(); }
  };
  socket.onclose = () => { if (!ended) setTimeout(connect, 50); };
})();
"""


async def _in_browser(script, folder, url, run, tell: Tell) -> list[dict]:
    for name, value in (("RUN", run), ("TYPES", json.dumps(TYPES)), ("ENDED", json.dumps(ENDED))):
        script = script.replace(name, value)
    async with browser(folder, f"{url}/healthz") as page:
        tell(0)
        await page.run(f"(() => {{ {script} }})()")
        while True:
            seen, ended = await page.run("[told.length, ended]")
            tell(seen)
            if ended:
                return [json.loads(data) for data in await page.run("told")]
            await asyncio.sleep(0.02)


async def event_source(*more) -> list[dict]:
    """A browser's own EventSource: it reconnects by itself, and stops at the 204."""
    return await _in_browser(EVENT_SOURCE, *more)


async def web_socket(*more) -> list[dict]:
    """A browser's own WebSocket."""
    return await _in_browser(WEB_SOCKET, *more)


CLIENTS = [curl, fetch, event_source, web_socket]


def exactly(told, log):
    """No loss, no duplicate, nothing out of order, nothing changed."""
    assert [event["seq"] for event in told] == list(range(1, len(log) + 1))
    assert told == log
    assert log[-1]["type"] == "run.completed"
    assert sum(event["type"] == "step.partial" for event in log) == COUNT


def cuts(seed) -> list[int | None]:
    """Two cuts within the first few events, one later, wherever the seed wants them."""
    chance = random.Random(seed)
    return [chance.randint(300, 4000), chance.randint(300, 4000), chance.randint(5000, 20_000)]


def _armed(proxy, plan) -> Tell:
    """Lets a client's first connections live (a browser's page), and then cuts by plan."""

    def tell(seen: int) -> None:
        if seen == 0 and plan:
            proxy.cut()
            proxy.cuts = [plan.pop(0) for _ in range(len(plan))]

    return tell


async def _follow(client, tmp_path, proxy, run, tell: Tell) -> list[dict]:
    async with asyncio.timeout(PATIENCE):
        return await client(tmp_path, f"http://127.0.0.1:{proxy.port}", run, tell)


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[ServerProcess]:
    with asyncio.Runner() as runner:
        kept = server(tmp_path_factory.mktemp("clients"))
        yield runner.run(kept.__aenter__())
        runner.run(kept.__aexit__(None, None, None))


@pytest.mark.parametrize("client", CLIENTS)
async def test_cut_off_in_mid_run(
    tmp_path, running: ServerProcess, client: Callable[..., Awaitable[list[dict]]]
):
    run = await start_run(running.url, "steady", {"count": COUNT})
    async with Proxy(port=running.port) as proxy:
        plan = cuts(client.__name__)
        told = await _follow(client, tmp_path, proxy, run, _armed(proxy, plan))
        assert not list(proxy.cuts), "it was cut off each time"
    exactly(told, await read_log(running.url, run))


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_server_is_killed_in_mid_run(tmp_path, running, client):
    run = await start_run(running.url, "steady", {"count": COUNT})
    async with Proxy(port=running.port) as proxy:
        arm = _armed(proxy, [2000])
        halfway = asyncio.Event()

        def tell(seen: int) -> None:
            arm(seen)
            if seen > COUNT // 2:
                halfway.set()

        following = asyncio.create_task(_follow(client, tmp_path, proxy, run, tell))
        waiting = asyncio.create_task(halfway.wait())
        await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert not following.done(), following.result()
        await running.kill()
        await running.start()
        told = await following
    log = await read_log(running.url, run)
    exactly(told, log)
