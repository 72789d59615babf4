"""A headless Chromium, driven over the DevTools protocol: as much of it as these tests need.

Everything waits for a condition, with a bound; nothing sleeps and hopes.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
PATIENCE = 60.0
"""Seconds until a test gives up: machines may be slow, and busy with other tests."""


def executable() -> str | None:
    """Where Chromium is; None where there is none. CHROMIUM names another one."""
    named = os.environ.get("CHROMIUM")  # read by these tests alone
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Failed(AssertionError):
    """What the page should have come to, and did not."""


class Page:
    """One tab, with what it logged and requested."""

    def __init__(self, link: ClientConnection, target: str) -> None:
        self._link, self.target = link, target
        self._number = 0
        self.console: list[str] = []
        self.requests: list[str] = []
        self.expected: list[str] = []  # parts of complaints that a test brings about on purpose
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; events that come before its answer are noted."""
        self._number += 1
        self._link.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            told = json.loads(self._link.recv(timeout=PATIENCE))
            if told.get("id") == self._number:
                if "error" in told:
                    raise Failed(f"{method}: {told['error']}")
                return told["result"]
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        params = told.get("params", {})
        match told.get("method"):
            case "Runtime.exceptionThrown":
                thrown = params["exceptionDetails"]
                self.console.append(f"exception: {thrown.get('exception', thrown)}")
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.console.append(f"console.{params['type']}: {params['args']}")
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                entry = params["entry"]
                self.console.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def complaints(self) -> list[str]:
        """What the console holds that no test expected."""
        self.evaluate("1")  # notes what is still on its way
        return [said for said in self.console if not any(part in said for part in self.expected)]

    def hosts(self) -> set[str | None]:
        """Who was asked for anything over the network."""
        return {urlsplit(url).hostname for url in self.requests if url.startswith(("http", "ws"))}

    # --- looking ------------------------------------------------------------------------------

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; a promise's when it is there."""
        told = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            raise Failed(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, condition: str, within: float = PATIENCE) -> Any:
        """The condition's value as soon as it holds. Outlives a reload."""
        until = time.monotonic() + within
        looks = f"""new Promise((resolve) => {{
            const end = performance.now() + 500;
            const look = () => {{
                let value = null;
                try {{ value = {condition}; }} catch (error) {{}}
                if (value || performance.now() > end) resolve(value instanceof Node ? true : value);
                else setTimeout(look, 15);
            }};
            look();
        }})"""
        while time.monotonic() < until:
            try:
                value = self.evaluate(looks)
            except Failed:
                continue  # the page is just being replaced by another
            if value:
                return value
        raise self._late(condition, within)

    def wait_outside(self, condition: str, within: float = PATIENCE) -> None:
        """As `wait`, for a page that may run no scripts: its own timers stand still, so it is asked
        again and again from here.
        """
        until = time.monotonic() + within
        while time.monotonic() < until:
            with suppress(Failed):  # the page is just being replaced by another
                if self.evaluate(f"Boolean({condition})"):
                    return
            time.sleep(0.02)
        raise self._late(condition, within)

    def _late(self, condition: str, within: float) -> Failed:
        text = self.evaluate("document.body?.innerText")
        return Failed(f"not within {within} s: {condition}\n{text}\n{self.console}")

    def text(self, selector: str) -> str:
        """What stands in the first element that fits."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def screenshot(self, path: Path) -> None:
        """The visible part, as PNG."""
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    # --- doing --------------------------------------------------------------------------------

    def go(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=url)

    def size(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """The window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def click(self, selector: str) -> None:
        """As a person would: it must be there and enabled."""
        chosen = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{chosen} && !{chosen}.disabled && {chosen}.getClientRects().length")
        self.evaluate(f"{chosen}.click()")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select?.()")
        self.call("Input.insertText", text=text)

    def give_files(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path) for path in files], nodeId=node)


class Browser:
    """The process. Each page has a context (storage, cache) of its own."""

    def __init__(self, link: ClientConnection, host: str) -> None:
        self._link, self._host = link, host
        self._number = 0

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._link.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            told = json.loads(self._link.recv(timeout=PATIENCE))
            if told.get("id") == self._number:
                return told["result"]

    @contextmanager
    def page(self) -> Iterator[Page]:
        """A tab, closed afterwards."""
        context = self._call("Target.createBrowserContext")["browserContextId"]
        made = self._call("Target.createTarget", url="about:blank", browserContextId=context)
        place = f"ws://{self._host}/devtools/page/{made['targetId']}"
        with connect(place, max_size=None, ping_interval=None) as link:
            yield Page(link, made["targetId"])
        self._call("Target.disposeBrowserContext", browserContextId=context)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile."""
    path = executable()
    assert path is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with open(Path(profile) / "stderr", "wb") as out:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=out)
        try:
            address = _address(Path(profile), process)
            # No pings: their thread draws from `random` while other tests' Hypothesis watches it.
            with connect(address, max_size=None, ping_interval=None) as link:
                yield Browser(link, address.split("/")[2])
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Chromium writes where it listens into its profile."""
    until = time.monotonic() + PATIENCE
    said = profile / "DevToolsActivePort"
    while time.monotonic() < until and process.poll() is None:
        lines = said.read_text().split() if said.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise Failed(f"Chromium did not start: {(profile / 'stderr').read_text()[-800:]}")
