"""Service: what every route works with. The engine, the open streams, and how requests become
runs and runs become responses. Knows FastAPI's Request and Response, and no route.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import msgspec
from fastapi import Request, Response
from msgspec import Struct

from millstream.blobs import Upload
from millstream.core.outcome import Document
from millstream.engine.engine import Engine, Start
from millstream.errors import InputError, NotFound, RequestError, UnsupportedMedia
from millstream.events import Event, Position, decode, encode
from millstream.inputs import blobs_of
from millstream.server.accept import Form, cursor
from millstream.server.delivery import EventStream, OutcomeResponse, Streams
from millstream.server.uploads import Form as UploadForm
from millstream.server.uploads import Limits, OnFileTooLarge, read_body, read_multipart
from millstream.store import Cancellation, Run
from millstream.wire import Wire
from millstream.wire.dialect import Dialect, Framer
from millstream.wire.ndjson import NDJSON
from millstream.wire.sse import SSE, with_retry

LATEST: Position = 2**62
"""A cursor behind every log's end: a reader who waits for what comes, and needs nothing before."""

WIRES: Mapping[str, Wire] = {"sse": SSE, "ndjson": NDJSON}


mounted_at: ContextVar[str] = ContextVar("millstream_mounted_at", default="")
"""The path under which the application is mounted that serves the request at hand."""


class Options(Struct, frozen=True):
    """How a client wants its run. `on_disconnect`: "detach" (the run goes on) or "cancel"."""

    timeout: float | None = None
    unwatched: float | None = None
    on_disconnect: str = "detach"
    key: str | None = None


class Service:
    """Requests in, responses out; the same for native routes and for systems' own."""

    def __init__(
        self, engine: Engine, streams: Streams, *, limits: Limits, json_bytes: int, prefix: str = ""
    ) -> None:
        self.engine, self.streams = engine, streams
        self.limits, self._json_bytes, self.prefix = limits, json_bytes, prefix

    # --- a request's body ---------------------------------------------------------------------

    async def read_document(self, pipeline: str, request: Request) -> bytes:
        """The input document of a JSON or form request. Raises InputError, TooLarge,
        UnsupportedMedia, NotFound."""
        codec = self.engine.inputs[self.engine.graph(pipeline).name]
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            form = await self.read_form(request)
            try:
                return codec.from_form(form.fields, form.files)
            except BaseException:
                await self.discard(form)
                raise
        if kind in ("", "application/json") or kind.endswith("+json"):
            return self.document_from_json(pipeline, await self.read_json(request))
        raise UnsupportedMedia(
            f"Content-Type {kind!r} is not read here; send application/json, or "
            "multipart/form-data for files"
        )

    def document_from_json(self, pipeline: str, body: bytes) -> bytes:
        """The input document of a JSON body. Raises InputError, RequestError, NotFound."""
        codec = self.engine.inputs[self.engine.graph(pipeline).name]
        try:
            return codec.from_json(body)
        except RecursionError:
            raise RequestError("the body is nested too deeply; send a flatter one") from None

    async def read_json(self, request: Request) -> bytes:
        """The body, under the limit for JSON."""
        return await read_body(
            request.stream(), self._json_bytes, content_length=content_length(request)
        )

    async def read_form(
        self,
        request: Request,
        *,
        limits: Limits | None = None,
        on_file_too_large: OnFileTooLarge = "refuse",
    ) -> UploadForm:
        """A multipart body; its files are in the blob store when this returns."""
        return await read_multipart(
            request.headers.get("content-type", ""),
            request.stream(),
            self.engine.blobs,
            limits or self.limits,
            content_length=content_length(request),
            on_file_too_large=on_file_too_large,
        )

    async def discard(self, form: UploadForm) -> None:
        """Let go of a form's files: no run will use them."""
        await self.engine.blobs.delete([upload.blob for _, upload in form.files])

    # --- runs ---------------------------------------------------------------------------------

    async def start(self, pipeline: str, document: bytes, options: Options) -> Run:
        """Start a run. Of a known idempotency key, the run of that key."""
        key = None if options.key is None else f"{pipeline}\n{options.key}"
        try:
            run, existing = await self.engine.start(
                Start(
                    pipeline=pipeline,
                    input=document,
                    timeout=options.timeout,
                    unwatched=options.unwatched,
                    key=key,
                    fingerprint=fingerprint(document) if key else None,
                )
            )
        except BaseException:
            await self.engine.blobs.delete(blobs_of(document))
            raise
        if existing:
            await self.engine.blobs.delete(blobs_of(document))
        return run

    def document_of(self, pipeline: str, **fields: Any) -> bytes:
        """The input document of values at hand; uploads, alone or in lists, stand as they are.
        Raises InputError."""
        codec = self.engine.inputs[self.engine.graph(pipeline).name]
        texts = [(n, v) for n, v in _spread(fields) if not isinstance(v, Upload)]
        files = [(n, v) for n, v in _spread(fields) if isinstance(v, Upload)]
        return codec.from_form(texts, files)

    def input_of(self, run: Run) -> Any:
        """The value that a run was started with."""
        return self.engine.inputs[run.pipeline].load(run.input)

    async def copy_upload(self, upload: Upload) -> Upload:
        """The same file once more, for another run (each run's uploads go when it is forgotten)."""
        writer = await self.engine.blobs.create()
        try:
            await writer.write(await upload.aread())
            blob = await writer.commit()
        except BaseException:
            await writer.abort()
            raise
        return upload.moved(blob.id, self.engine.blobs.path(blob.id))

    async def run(self, run: str) -> Run:
        """A run's record. Raises NotFound."""
        return await self.engine.run(run)

    async def document(self, run: str) -> Document:
        """A run's document, as of now. Raises NotFound."""
        return await self.engine.document(run)

    async def events(self, run: str, after: Position = 0) -> AsyncIterator[Event]:
        """A run's events behind `after`, to the last one."""
        follower = await self.engine.follow(run, after)
        try:
            async for batch in follower.batches():
                for line in batch.events:
                    yield decode(line)
        finally:
            follower.close()

    async def outcome(self, run: str) -> Document:
        """A run's document when it has ended."""
        follower = await self.engine.follow(run, LATEST)
        try:
            async for _ in follower.batches():
                pass
        finally:
            follower.close()
        return await self.document(run)

    async def cancel(self, run: str, reason: str, *, by: str = "client") -> bool:
        """Stop a run. False where it had ended."""
        return await self.engine.cancel(run, Cancellation(by=by, reason=reason))

    @property
    def draining(self) -> bool:
        """Whether this process is shutting down: what ends now was not ended by its client."""
        return self.engine.worker.draining or self.streams.draining

    # --- responses ----------------------------------------------------------------------------

    async def respond(
        self, run: str, form: Form, *, after: Position | None = None, options: Options | None = None
    ) -> Any:
        """Follow a run in the native envelope, on one of the wires, or wait for its outcome."""
        location = (b"location", self.location(run).encode())
        left = self._leaver(run, options)
        follower = await self.engine.follow(run, LATEST if form == "json" else after or 0)
        if form == "json":

            async def outcome() -> bytes:
                return encode(await self.document(run))

            return OutcomeResponse(
                follower, NDJSON, self.streams, document=outcome, headers=[location], left=left
            )
        if after is not None and follower.at_end:
            follower.close()
            return Response(status_code=204)  # so that an EventSource stops (WHATWG HTML)
        wire = WIRES[form]
        first = with_retry if wire is SSE else None
        return EventStream(follower, wire, self.streams, headers=[location], left=left, first=first)

    async def respond_in_dialect(
        self,
        run: str,
        wire: Literal["sse", "ndjson"],
        dialect: Dialect,
        *,
        after: Position = 0,
        options: Options | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        heartbeat: bool = True,
        ids: bool = True,
        content_type: str | None = None,
    ) -> EventStream:
        """Follow a run in an app's own names. The dialect is fed from the first event, and heard
        from behind `after`."""
        follower = await self.engine.follow(run, 0)
        return EventStream(
            follower,
            WIRES[wire],
            self.streams,
            framer=Framer(WIRES[wire], dialect, after, ids=ids),
            headers=[(b"location", self.location(run).encode()), *headers],
            heartbeat=heartbeat,
            left=self._leaver(run, options),
            content_type=content_type,
        )

    def _leaver(self, run: str, options: Options | None) -> Callable[[], Awaitable[object]] | None:
        if options is None or options.on_disconnect != "cancel":
            return None

        async def leave() -> None:
            try:
                await self.cancel(run, "the client that started it disconnected")
            except NotFound:
                return

        return leave

    def cursor(self, request: Request) -> Position:
        """The cursor of a request that resumes; 0 where it has none. Raises InputError."""
        return cursor(request) or 0

    def location(self, run: str) -> str:
        """Where a run is read."""
        return f"{self.prefix or mounted_at.get()}/runs/{run}"


def content_length(request: Request) -> int | None:
    """What the client says its body's length is."""
    said = request.headers.get("content-length", "")
    return int(said) if re.fullmatch(r"[0-9]{1,18}", said) else None


def _spread(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Each field once a value, the way a form has them."""
    return [
        (name, each)
        for name, value in fields.items()
        for each in (value if isinstance(value, list | tuple) else [value])
    ]


def fingerprint(document: bytes) -> str:
    """A hash by which the same input is known again: files count by content and name, not by
    where they were put."""

    def without_places(value: Any) -> Any:
        if isinstance(value, dict):
            file = {"blob", "sha256", "filename"} <= value.keys()
            kept = {k: v for k, v in value.items() if not (file and k == "blob")}
            return {k: without_places(v) for k, v in sorted(kept.items())}
        if isinstance(value, list):
            return [without_places(each) for each in value]
        return value

    plain = encode(without_places(msgspec.json.decode(document)))
    return hashlib.sha256(plain).hexdigest()


def options_of(request: Request) -> Options:
    """`?timeout=`, `?unwatched=`, `?on_disconnect=` and `Idempotency-Key`. Raises InputError."""
    query = request.query_params
    on_disconnect = query.get("on_disconnect", "detach")
    if on_disconnect not in ("detach", "cancel"):
        raise _bad("on_disconnect", f"{on_disconnect!r} is neither 'detach' nor 'cancel'")
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= 255:
        raise _bad("Idempotency-Key", "from 1 to 255 characters")
    return Options(
        timeout=_seconds(query.get("timeout"), "timeout"),
        unwatched=_seconds(query.get("unwatched"), "unwatched"),
        on_disconnect=on_disconnect,
        key=key,
    )


def _seconds(said: str | None, field: str) -> float | None:
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise _bad(field, f"{said!r} is not a number of seconds above 0")
    return seconds


def _bad(field: str, message: str) -> InputError:
    return InputError(f"{field}: {message}", errors=[{"field": field, "message": message}])
