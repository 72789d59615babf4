"""Analyses: this system's requests as runs, and its runs as answers.

Photos become a run's input; what a phone reads is a dialect of that run's log, and what a desktop
waits for is the same packets united. Nothing is kept here.
"""

import asyncio
from hashlib import sha256
from typing import Any

import msgspec
from fastapi import Request, Response

from millstream import Millstream, NotFound, Options, Service, Upload
from millstream_apps.appraise import requests
from millstream_apps.appraise.errors import CORS, Reply
from millstream_apps.appraise.models import PhotoRequest
from millstream_apps.appraise.packets import ERROR, PARTS, Outcome, PacketDialect, outcome
from millstream_apps.appraise.recognition.models import View
from millstream_apps.appraise.records import Records, pin_of
from millstream_apps.appraise.requests import MissingPhoto, Sent
from millstream_apps.appraise.settings import settings

STREAM_HEADERS = [
    (b"connection", b"keep-alive"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"Content-Type, Authorization"),
    (b"access-control-expose-headers", b"Location"),
]
FRONT_REQUIRED = "Front image required"
ATTEMPTS = 5
"""How often a session finds its failed analyses again, each time beginning another."""

HTML_OF = {step: part.html for step, part in PARTS.items()}


class Analyses:
    """The system's requests over one application. `name` is its pipeline's."""

    def __init__(self, app: Millstream, name: str) -> None:
        self.app, self.name = app, name

    @property
    def service(self) -> Service:
        """The application's service."""
        return self.app.service

    @property
    def records(self) -> Records:
        """The database. Its methods block."""
        return Records(settings().database())

    # --- in -----------------------------------------------------------------------------------

    async def start(self, request: Request) -> Any:
        """Start a run over the request's photos, or find the one that they started already (by its
        Idempotency-Key, or by session and photos); its record.

        Raises BadRequest, TooLarge, Conflict, Unavailable."""
        sent = await requests.read(request, self.service)
        given = request.headers.get("idempotency-key")
        key = _key(sent, given, owner_of(request))
        if given is not None or key is None:
            return await self._start(sent, key)
        for attempt in range(ATTEMPTS):
            run = await self._start(sent, f"{key}-{attempt}")
            if run.state not in ("failed", "cancelled"):
                return run
            # That one came to nothing, and with it the photos just sent were let go of.
            sent = await self._copied(run)
        return await self._start(sent, None)

    async def _start(self, sent: Sent, key: str | None) -> Any:
        fields: dict[str, Any] = {f"{view}_image": photo for view, photo in sent.photos.items()}
        if sent.session is not None:
            fields["sessionId"] = sent.session
        document = self.service.document_of(self.name, **fields)
        options = Options(timeout=settings().timeout, key=key)
        return await self.service.start(self.name, document, options)

    async def _copied(self, run: Any) -> Sent:
        """What a run was started with, for another one."""
        photos: PhotoRequest = self.service.input_of(run)
        copies: dict[View, Upload] = {
            view: await self.service.copy_upload(upload)
            for view in photos.views
            if (upload := photos.view(view)) is not None
        }
        return Sent(photos.session_id, copies)

    # --- out ----------------------------------------------------------------------------------

    async def stream(self, run: str, request: Request, *, after: int) -> Response:
        """The run's packets from behind a cursor on."""
        dialect = await self._dialect(run, request)
        return await self.service.respond_in_dialect(
            run,
            "ndjson",
            dialect,
            after=after,
            headers=STREAM_HEADERS,
            heartbeat=False,
            content_type="application/json",
        )

    async def document(self, run: str, request: Request) -> Outcome:
        """The run's outcome as one document, when it has ended; pages stand in it whole."""
        await self.service.outcome(run)
        dialect = await self._dialect(run, request)
        packets = [
            message.data async for event in self.service.events(run) for message in dialect(event)
        ]
        found = outcome(packets, run)
        for view in ("front", "back", "angled"):
            if found.body.pop(f"{view}HtmlUrl", None) is not None:
                page = await asyncio.to_thread(self.records.page, run, view)
                found.body[f"{view}Html"] = page or found.body[f"{view}Html"]
        if found.status == 200:
            number = found.body["id"]
            pin = None if number is None else pin_of(number)
            found.body.update(pinId=pin, recordNumber=number)
        return found

    async def answer(self, request: Request) -> Response:
        """Packets for phones, one document for all others."""
        try:
            run = await self.start(request)
        except MissingPhoto as error:
            if not requests.is_phone(request):
                raise
            return _front_required(error.message)
        if not requests.is_phone(request):
            return await self.wait(run.id, request)
        after = self.service.cursor(request)
        # A cursor beyond this log is of another run, which is no more: begin at the beginning.
        return await self.stream(run.id, request, after=after if after <= run.seq else 0)

    async def wait(self, run: str, request: Request) -> Response:
        """One document."""
        found = await self.document(run, request)
        headers = {"Location": self.service.location(run)}
        return Reply(found.body, found.status, headers)

    async def html_of(self, run: str, name: str) -> str:
        """A page, or a part's HTML, that a packet named by its address. Raises NotFound."""
        page = await asyncio.to_thread(self.records.page, run, name)
        if page is not None:
            return page
        found = await self.service.run(run)
        if found.pipeline == self.name:
            async for event in self.service.events(run):
                if event.type == "step.result" and name in HTML_OF.get(event.step or "", ()):
                    return event.value[name]
        raise NotFound(f"analysis {run} has no page {name!r}")

    async def _dialect(self, run: str, request: Request) -> PacketDialect:
        found = await self.service.run(run)
        if found.pipeline != self.name:
            raise NotFound(f"run {run!r} is no analysis")
        base = settings().public_url or str(request.base_url)
        session = self.service.input_of(found).session(found.created)
        return PacketDialect(session, base)


def owner_of(request: Request) -> str | None:
    """Who asks, as the route's authentication found; None where nobody logs in."""
    return getattr(request.state, "owner", None)


def _key(sent: Sent, given: str | None, owner: str | None) -> str | None:
    """By what the same request is known again. A session alone is not enough: its digits count
    seconds, and two phones may send different pins in one."""
    if given is None and sent.session is None:
        return None
    photos = [f"{view} {upload.sha256}" for view, upload in sorted(sent.photos.items())]
    known = [given] if given is not None else [sent.session or "", *photos]
    return sha256("\n".join([owner or "", *known]).encode()).hexdigest()


def _front_required(said: str) -> Response:
    """A phone's request without its front photo: an ERROR packet, and a refusal in one."""
    packet: dict[str, Any] = {
        "packetType": ERROR,
        "success": False,
        "message": FRONT_REQUIRED,
        "error": said,
    }
    return Response(msgspec.json.encode(packet) + b"\n", 400, CORS, media_type="application/json")
