"""A browser for pages whose text is made by scripts: a Chromium that the user has, headless.

It speaks the Chrome DevTools Protocol, and reaches nothing by itself: every request of a page is
paused and answered through the guarded client; whatever is not asked for that way (WebSockets, say)
meets a proxy that is not there. Each page has a process and an empty profile of its own.
"""

import asyncio
import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from millstream import Outgoing, OutgoingError, OutgoingLimits, StepError

FLAGS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
    "--blink-settings=imagesEnabled=false",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--proxy-server=http://127.0.0.1:1",
    "--proxy-bypass-list=<-loopback>",
    "--remote-debugging-port=0",
)
"""The proxy at port 1 is not there: nothing gets out that is not answered here."""

SKIPPED: Final = frozenset({"Image", "Media", "Font", "Ping", "CSPViolationReport", "Manifest"})
"""Kinds of requests that a page's text does not need."""

HEADERS: Final = ("accept", "content-type", "user-agent", "x-requested-with")
QUIET: Final = 0.5
"""Seconds without a request after which a loaded page counts as made."""

LIMITS: Final = OutgoingLimits(body=5 * 2**20)


class Browser:
    """Renders pages, a few at a time. `flags` are further ones for Chromium (`--no-sandbox`, where
    it must run as root)."""

    def __init__(
        self, path: Path, outgoing: Outgoing, *, flags: Sequence[str] = (), pages: int = 2
    ) -> None:
        self._path, self._outgoing, self._flags = path, outgoing, tuple(flags)
        self._turns = asyncio.Semaphore(pages)

    async def render(self, url: str, html: str, *, seconds: float = 20.0) -> str:
        """A page's HTML after its scripts have run. `html` is the page as it came.

        Raises StepError (`render_failed`), not retryable.
        """
        try:
            async with self._turns, asyncio.timeout(seconds), AsyncExitStack() as stack:
                link = await self._start(stack)
                return await _Tab(link, self._outgoing, url, html).made()
        except TimeoutError:
            said = f"{url}: the browser did not finish within {seconds:g} s"
            raise StepError(said, code="render_failed", retryable=False) from None
        except (OSError, WebSocketException, KeyError) as error:
            said = f"{url}: the browser failed: {type(error).__name__}"
            raise StepError(said, code="render_failed", retryable=False) from None

    async def _start(self, stack: AsyncExitStack) -> ClientConnection:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        profile = Path(stack.enter_context(folder))
        process = await asyncio.create_subprocess_exec(
            str(self._path),
            *FLAGS,
            *self._flags,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        stack.push_async_callback(_ended, process)
        address = await _address(profile, process)
        return await stack.enter_async_context(connect(address, max_size=None, proxy=None))

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._outgoing.aclose()


async def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _address(profile: Path, process: asyncio.subprocess.Process) -> str:
    """Where Chromium listens: it writes that into its profile."""
    said = profile / "DevToolsActivePort"
    while process.returncode is None:
        lines = said.read_text().split() if said.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.02)
    raise OSError("Chromium ended at once")


class _Tab:
    """One page in the browser, until it is made."""

    def __init__(self, link: ClientConnection, outgoing: Outgoing, url: str, html: str) -> None:
        self._link, self._outgoing, self._url, self._html = link, outgoing, url, html
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._loaded = asyncio.Event()
        self._busy_until = 0.0

    async def made(self) -> str:
        """Open the page, wait until it is made, and take its HTML."""
        listening = asyncio.create_task(self._listen())
        try:
            target = await self._call("Target.createTarget", url="about:blank")
            named = {"targetId": target["targetId"], "flatten": True}
            self._session = (await self._call("Target.attachToTarget", **named))["sessionId"]
            await self._call("Page.enable")
            await self._call("Fetch.enable", patterns=[{"urlPattern": "*"}])
            navigating = asyncio.create_task(self._call("Page.navigate", url=self._url))
            await self._quiet()
            await navigating
            found = await self._call(
                "Runtime.evaluate", expression="document.documentElement.outerHTML"
            )
            return str(found["result"]["value"])
        finally:
            for task in (listening, *self._under_way):
                task.cancel()
            await asyncio.gather(listening, *self._under_way, return_exceptions=True)

    async def _quiet(self) -> None:
        """Until the page has loaded and asked for nothing for a while."""
        await self._loaded.wait()
        loop = asyncio.get_running_loop()
        self._busy_until = loop.time() + QUIET
        while self._under_way or loop.time() < self._busy_until:  # noqa: ASYNC110 - a lull, no event
            await asyncio.sleep(QUIET / 5)

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._link.send(json.dumps(message))
        return await answer

    async def _listen(self) -> None:
        async for frame in self._link:
            told = json.loads(frame)
            answer = self._answers.pop(told.get("id", 0), None)
            if answer is not None and not answer.done():
                answer.set_result(told.get("result", {}))
            elif told.get("method") == "Page.loadEventFired":
                self._loaded.set()
            elif told.get("method") == "Fetch.requestPaused":
                task = asyncio.create_task(self._answer(told["params"]))
                self._under_way.add(task)
                task.add_done_callback(self._answered)

    def _answered(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._busy_until = asyncio.get_running_loop().time() + QUIET
        if not task.cancelled():
            task.exception()

    async def _answer(self, paused: Mapping[str, Any]) -> None:
        """Answer one request of the page, or refuse it."""
        named = {"requestId": paused["requestId"]}
        asked = paused["request"]
        kind = paused.get("resourceType", "")
        if kind == "Document" and asked["url"].partition("#")[0] == self._url.partition("#")[0]:
            headers = {"content-type": "text/html; charset=utf-8"}
            await self._fulfil(named, 200, headers, self._html.encode())
            return
        if kind in SKIPPED or asked["method"] not in ("GET", "HEAD", "POST"):
            await self._call("Fetch.failRequest", **named, errorReason="BlockedByClient")
            return
        sent = {k: v for k, v in asked["headers"].items() if k.lower() in HEADERS}
        body = asked.get("postData")
        try:
            got = await self._outgoing.request(
                asked["method"],
                asked["url"],
                headers=sent,
                content=None if body is None else body.encode(),
                limits=LIMITS,
            )
        except OutgoingError:
            await self._call("Fetch.failRequest", **named, errorReason="AccessDenied")
            return
        kept = ("content-type", "access-control-allow-origin", "access-control-allow-credentials")
        headers = {name: got.headers[name] for name in kept if name in got.headers}
        await self._fulfil(named, got.status, headers, got.body)

    async def _fulfil(
        self, named: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        await self._call(
            "Fetch.fulfillRequest",
            **named,
            responseCode=status,
            responseHeaders=[{"name": n, "value": v} for n, v in headers.items()],
            body=base64.b64encode(body).decode(),
        )
