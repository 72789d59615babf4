"""The WebSocket: one client's session, which crawls, pauses, resumes, cancels and asks.

Two families of clients speak here: `{request_type, data}` and `{action, request_id, data}`; every
frame back is `{message_type, data, timestamp}`. One crawl at a time is delivered; requests are
heard meanwhile. A pause lets no further URL begin and holds results back; nothing is lost by it.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import structlog
from fastapi import WebSocket, WebSocketDisconnect

from millstream import MillstreamError, RequestError
from millstream_apps.extract.access import Access
from millstream_apps.extract.crawls import CRAWL, Crawls
from millstream_apps.extract.dialects import CrawlFrames
from millstream_apps.extract.errors import told
from millstream_apps.extract.outcomes import Outcomes
from millstream_apps.extract.slots import Slots

log = structlog.get_logger("millstream_apps.extract.socket")

OPERATIONS = ["crawl", "pause", "resume", "cancel", "status", "ping"]
VERSION = "1.0"
POLICY = 1008  # RFC 6455, section 7.4
SLOW = 0.1
"""Seconds that a send may take before the client counts as slow."""

GONE = (WebSocketDisconnect, OSError, RuntimeError)


class Crawl:
    """A crawl that a session delivers: its run, how far it is, whether it is paused."""

    def __init__(
        self, run: str, session: str, urls: list[str], reference: str | None = None
    ) -> None:
        self.run, self.reference = run, reference
        self.outcomes = Outcomes(urls)
        self.frames = CrawlFrames(run, session, self.outcomes)
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.task: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """running, paused or ended."""
        if self.task is not None and self.task.done():
            return "ended"
        return "running" if self.flowing.is_set() else "paused"

    def told(self) -> dict[str, Any]:
        """What a client is told of it."""
        return {
            "request_id": self.run,
            "state": self.state,
            "completed": self.outcomes.completed,
            "total": self.outcomes.total,
        }


class Session:
    """One client's connection."""

    def __init__(self, socket: WebSocket, crawls: Crawls, access: Access, slots: Slots) -> None:
        self._socket, self._crawls, self._access, self._slots = socket, crawls, access, slots
        self.id = uuid4().hex
        self._began = time.monotonic()
        self._turn = asyncio.Lock()
        self._crawl: Crawl | None = None
        self._messages = self._slow = 0
        self._reference: str | None = None

    async def serve(self) -> None:
        """From the handshake until either side goes."""
        if not self._same_origin():
            await self._socket.close(POLICY)
            return
        try:
            await self._access.asked(self._socket)
            with self._access.places.place(self._socket):
                await self._socket.accept()
                await self._converse()
        except MillstreamError as error:
            await self._socket.accept()
            await self._refuse(error)
            await self._socket.close(POLICY)

    def _same_origin(self) -> bool:
        origin = self._socket.headers.get("origin")
        allowed = self._crawls.app.settings.origins
        if origin is None or origin in allowed or "*" in allowed:
            return True
        return urlsplit(origin).netloc == self._socket.headers.get("host")

    async def _converse(self) -> None:
        try:
            await self._say(
                "welcome",
                {
                    "session_id": self.id,
                    "server_time": _now(),
                    "protocol_version": VERSION,
                    "supported_operations": OPERATIONS,
                },
            )
            while True:
                try:
                    async with asyncio.timeout(self._crawls.settings.ws_ping_interval):
                        message = await self._socket.receive()
                except TimeoutError:
                    await self._say("heartbeat", {"session_id": self.id})
                    continue
                if message["type"] == "websocket.disconnect":
                    return
                await self._hear(message.get("text") or message.get("bytes") or "")
        except GONE:
            return
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """The client has gone. Its crawl goes on; one that was paused, too."""
        crawl = self._crawl
        if crawl is None:
            return
        self._slots.resume(crawl.run)
        if crawl.task is not None:
            crawl.task.cancel()
            await asyncio.wait([crawl.task])

    # --- sending ----------------------------------------------------------------------------

    async def _say(self, kind: str, data: Mapping[str, Any], of: Crawl | None = None) -> None:
        """Send one frame, of a crawl or in answer to the request at hand; the next when this one is
        taken. Raises WebSocketDisconnect."""
        frame: dict[str, Any] = {"message_type": kind, "data": data, "timestamp": _now()}
        reference = self._reference if of is None else of.reference
        if reference is not None:
            frame["request_id"] = reference
        text = msgspec.json.encode(frame).decode()
        async with self._turn:
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._crawls.app.settings.stall_timeout):
                    await self._socket.send_text(text)
            except TimeoutError as error:
                with suppress(*GONE):
                    await self._socket.close(POLICY, "took nothing for too long")
                raise WebSocketDisconnect(1006) from error
            except GONE as error:
                raise WebSocketDisconnect(1006) from error
            self._messages += 1
            self._slow += time.monotonic() - began > SLOW

    async def _refuse(self, error: MillstreamError) -> None:
        kind = told(error)[1]["error"]
        await self._say("error", {"error_type": kind["type"], "message": kind["message"]})

    # --- requests ---------------------------------------------------------------------------

    async def _hear(self, frame: str | bytes) -> None:
        try:
            request = self._parse(frame)
        except RequestError as error:
            await self._refuse(error)
            return
        named = request.get("request_type") or request.get("action")
        reference = request.get("request_id")
        self._reference = reference if isinstance(reference, str) else None
        data = request.get("data")
        try:
            await self._obey(named, data if isinstance(data, dict) else {})
        except MillstreamError as error:
            await self._refuse(error)
        except GONE:
            raise
        except Exception:
            log.exception("socket_request_failed")
            said = "something went wrong here; it is in our log"
            await self._say("error", {"error_type": "internal_error", "message": said})
        finally:
            self._reference = None

    def _parse(self, frame: str | bytes) -> dict[str, Any]:
        if len(frame) > self._crawls.settings.ws_max_message_size:
            raise RequestError("the message is too large; send fewer URLs at a time")
        try:
            request = msgspec.json.decode(frame)
        except (msgspec.DecodeError, RecursionError):
            request = None
        if not isinstance(request, dict):
            raise RequestError('send one JSON object a message: {"request_type": "ping"}')
        return request

    async def _obey(self, named: object, data: dict[str, Any]) -> None:
        match named:
            case "ping":
                await self._say("pong", {"timestamp": _now(), "session_id": self.id})
            case "status":
                await self._say("status", self._status())
            case "crawl":
                await self._begin(data)
            case "pause":
                await self._pause()
            case "resume":
                await self._resume(data)
            case "cancel":
                await self._cancel(data)
            case _:
                said = f"{named!r} is unknown; one of {', '.join(OPERATIONS)}"
                await self._say("error", {"error_type": "unknown_request", "message": said})

    def _status(self) -> dict[str, Any]:
        return {
            "session_id": self.id,
            "connected_duration_ms": round((time.monotonic() - self._began) * 1000),
            "is_healthy": True,
            "message_count": self._messages,
            "backpressure_count": self._slow,
            "crawl": None if self._crawl is None else self._crawl.told(),
        }

    # --- crawls -----------------------------------------------------------------------------

    async def _begin(self, data: dict[str, Any]) -> None:
        self._check_idle()
        await self._access.counted(self._socket)
        service = self._crawls.service
        document = service.document_from_json(CRAWL, msgspec.json.encode(data))
        run = await self._crawls.begin(CRAWL, document)
        urls = service.engine.inputs[CRAWL].load(document).urls
        self._follow(Crawl(run.id, self.id, urls, self._reference), 0)

    def _check_idle(self) -> None:
        if self._crawl is not None and self._crawl.state != "ended":
            raise RequestError("a crawl is under way here; wait, cancel it, or open another socket")

    def _follow(self, crawl: Crawl, after: int) -> None:
        self._crawl = crawl
        crawl.task = asyncio.create_task(self._deliver(crawl, after))

    async def _deliver(self, crawl: Crawl, after: int) -> None:
        try:
            async for event in self._crawls.service.events(crawl.run):
                frames = list(crawl.frames(event))
                if event.seq <= after:
                    continue
                for kind, data in frames:
                    await crawl.flowing.wait()
                    await self._say(kind, data, crawl)
        except MillstreamError as error:
            log.warning("crawl_broke_off", run=crawl.run, error=error.message)
            with suppress(WebSocketDisconnect):
                await self._refuse(error)
        except WebSocketDisconnect:
            pass  # `_converse` hears of it too
        finally:
            self._slots.resume(crawl.run)

    async def _pause(self) -> None:
        crawl = self._running()
        self._slots.pause(crawl.run)
        crawl.flowing.clear()
        await self._say("paused", crawl.told())

    async def _resume(self, data: dict[str, Any]) -> None:
        named = data.get("request_id")
        if self._crawl is None and isinstance(named, str):
            await self._take_up(named, data.get("last_index"))
            return
        crawl = self._running()
        self._slots.resume(crawl.run)
        await self._say("resumed", {**crawl.told(), "state": "running"})
        crawl.flowing.set()

    async def _take_up(self, run: str, last: object) -> None:
        """Go on with a crawl that another socket began, behind the result that it saw last."""
        urls = await self._crawls.urls_of(run)
        after = 0
        if isinstance(last, int):
            found = await self._crawls.position(run, urls, last)
            after = 2**62 if found is None else found
        self._follow(Crawl(run, self.id, urls, self._reference), after)

    async def _cancel(self, data: dict[str, Any]) -> None:
        crawl = self._running()
        reason = str(data.get("reason") or "the client cancelled it")[:500]
        await self._crawls.service.cancel(crawl.run, reason)
        self._slots.resume(crawl.run)
        await self._say("cancelled", crawl.told())
        crawl.flowing.set()

    def _running(self) -> Crawl:
        if self._crawl is None or self._crawl.state == "ended":
            raise RequestError('no crawl is under way here; send {"request_type": "crawl"} first')
        return self._crawl


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
