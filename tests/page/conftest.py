"""A browser for the whole session, servers as processes of their own, and a page for each test."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from millstream.testing.proxy import Proxy
from tests.page import browser
from tests.page.browser import Browser, Page

ROOT = Path(__file__).parents[2]
PIPELINES = "tests.page.pipelines:app"
DECKLISTS = "millstream_apps.decklists:app"


class Server:
    """`millstream serve` on a port that stays the same, with a store and gates in a folder."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target, self._folder = target, folder
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.gates = folder / "gates"
        self.gates.mkdir()

    def start(self) -> None:
        """Serve. Returns when it listens."""
        command = [sys.executable, "-m", "millstream", "serve", self._target]
        command += ["--port", str(self.port), "--store", f"sqlite:///{self._folder}/page.db"]
        command += ["--durability", "process", "--log-level", "critical"]
        environment = os.environ | {
            "TEST_GATES": str(self.gates),
            "MILLSTREAM_LEASE_TTL": "1",  # a run whose server was killed is taken up so soon
            "MILLSTREAM_DRAIN": "0",
        }
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "Ctrl-C" in line:
                self.port = int(line.split("http://127.0.0.1:")[1].split()[0])
                return
        raise AssertionError(f"the server did not start: {''.join(said)}")

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self.port}/"

    def let(self, gate: str) -> None:
        """Open a gate; it stays open until `shut`."""
        (self.gates / gate).touch()

    def shut(self) -> None:
        """Close every gate."""
        for gate in self.gates.iterdir():
            gate.unlink()


@contextmanager
def serving(target: str, folder: Path) -> Iterator[Server]:
    """A server, killed afterwards."""
    server = Server(target, folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if browser.executable() is None:
        pytest.skip("no Chromium on PATH (or in CHROMIUM): the page is not tested")
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="session")
def shared_server(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(PIPELINES, tmp_path_factory.mktemp("pipelines")) as found:
        yield found


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The test pipelines; every gate closed."""
    shared_server.shut()
    return shared_server


@pytest.fixture(scope="session")
def decklists(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(DECKLISTS, tmp_path_factory.mktemp("decklists")) as found:
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab that must stay without complaints and must talk to its own server alone."""
    with chromium.page() as found:
        found.size(1280, 900)
        yield found
        assert found.complaints() == []
        assert found.hosts() <= {"127.0.0.1"}


class Wire:
    """A proxy in a thread of its own, between the browser and a server."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.proxy: Proxy | None = None

    def open(self, port: int) -> str:
        """Begin; the address of the page behind it."""

        async def enter() -> Proxy:
            return await Proxy(port=port).__aenter__()

        self.proxy = asyncio.run_coroutine_threadsafe(enter(), self._loop).result(10)
        return f"http://127.0.0.1:{self.proxy.port}/"

    def cut(self) -> None:
        """Reset every connection."""
        assert self.proxy is not None
        self._loop.call_soon_threadsafe(self.proxy.cut)

    def close(self) -> None:
        """End."""
        if self.proxy is not None:
            leaving = self.proxy.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(leaving, self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    found = Wire()
    try:
        yield found
    finally:
        found.close()
