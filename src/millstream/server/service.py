"""Service: what every route works with. The engine, the open streams, and how requests become
runs and runs become responses. Knows FastAPI's Request and Response, and no route.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal, cast

import msgspec
from fastapi import Request, Response
from msgspec import Struct

from millstream.blobs import Blob, Upload
from millstream.core.outcome import Document
from millstream.engine.engine import EVERYBODY, Engine, Everybody, Start
from millstream.engine.follow import Follower
from millstream.engine.live.control import LiveRun
from millstream.errors import Conflict, InputError, NotFound, RequestError, UnsupportedMedia
from millstream.events import Event, Position, decode, encode
from millstream.inputs import blobs_of
from millstream.observe.debugger.feed import FeedReader
from millstream.server.accept import Form, cursor
from millstream.server.auth import caller
from millstream.server.delivery import EventStream, OutcomeResponse, Streams
from millstream.server.limiting import Places, limit_headers
from millstream.server.request import header, query
from millstream.server.uploads import Form as UploadForm
from millstream.server.uploads import Limits, OnFileTooLarge, read_body, read_multipart
from millstream.store import Cancellation, Run, State
from millstream.wire import Wire
from millstream.wire.dialect import Dialect, Framer
from millstream.wire.ndjson import NDJSON
from millstream.wire.sse import SSE, with_retry

LATEST: Position = 2**62
"""A cursor behind every log's end: a reader who waits for what comes, and needs nothing before."""

OWNERS = 10_000
"""Of so many runs it is remembered whose they are."""

_LENGTH = re.compile(r"[0-9]{1,18}")

WIRES: Mapping[str, Wire] = {"sse": SSE, "ndjson": NDJSON}


mounted_at: ContextVar[str] = ContextVar("millstream_mounted_at", default="")
"""The path under which the application is mounted that serves the request at hand."""


class Options(Struct, frozen=True):
    """How a client wants its run. `on_disconnect`: "detach" (the run goes on) or "cancel"."""

    timeout: float | None = None
    unwatched: float | None = None
    on_disconnect: str = "detach"
    key: str | None = None


def _viewer() -> str | Everybody | None:
    """Whose runs the caller sees."""
    who = caller.get()
    return EVERYBODY if who is None else who.owner


class Service:
    """Requests in, responses out; the same for native routes and for systems' own."""

    def __init__(
        self,
        engine: Engine,
        streams: Streams,
        *,
        limits: Limits,
        json_bytes: int,
        prefix: str = "",
        places: Places | None = None,
    ) -> None:
        self.engine, self.streams = engine, streams
        self.limits, self._json_bytes, self.prefix = limits, json_bytes, prefix
        self.places = Places("streams", most=2**31) if places is None else places
        self._owners: dict[str, str | None] = {}

    # --- a request's body ---------------------------------------------------------------------

    async def read_document(self, pipeline: str, request: Request) -> bytes:
        """The input document of a JSON or form request. Raises InputError, TooLarge,
        UnsupportedMedia, NotFound."""
        codec = self.engine.inputs[self.engine.graph(pipeline).name]
        kind = (header(request, "content-type") or "").partition(";")[0].strip().lower()
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

    async def read_json(self, request: Request, *, limit: int | None = None) -> bytes:
        """The body, under the limit for JSON (or another one, in bytes). Raises TooLarge."""
        most = self._json_bytes if limit is None else limit
        return await read_body(request.stream(), most, content_length=content_length(request))

    async def read_form(
        self,
        request: Request,
        *,
        limits: Limits | None = None,
        on_file_too_large: OnFileTooLarge = "refuse",
    ) -> UploadForm:
        """A multipart body; its files are in the blob store when this returns."""
        return await read_multipart(
            header(request, "content-type") or "",
            request.stream(),
            self.engine.blobs,
            limits or self.limits,
            content_length=content_length(request),
            on_file_too_large=on_file_too_large,
        )

    async def discard(self, form: UploadForm) -> None:
        """Let go of a form's files: no run will use them."""
        await self.discard_files([upload for _, upload in form.files])

    async def discard_files(self, uploads: Sequence[Upload]) -> None:
        """Let go of uploads that no run will use."""
        await self.engine.blobs.delete([upload.blob for upload in uploads])

    # --- runs ---------------------------------------------------------------------------------

    async def start(self, pipeline: str, document: bytes, options: Options) -> Run:
        """Start a run. Of a known idempotency key, the run of that key."""
        who = caller.get()
        owner = None if who is None else who.owner
        key = None if options.key is None else f"{pipeline}\n{options.key}"
        if key is not None and owner is not None:
            key = f"{key}\n{owner}"  # nobody finds another one's run by its key
        try:
            run, existing = await self.engine.start(
                Start(
                    pipeline=pipeline,
                    input=document,
                    timeout=options.timeout,
                    unwatched=options.unwatched,
                    key=key,
                    fingerprint=fingerprint(document) if key else None,
                    owner=owner,
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
        blob = await self._keep(await upload.aread())
        return upload.moved(blob.id, self.engine.blobs.path(blob.id))

    async def keep_file(
        self, data: bytes, *, filename: str, content_type: str = "application/octet-stream"
    ) -> Upload:
        """Bytes that came another way than as a form's file (base64 in JSON, say) as an upload. It
        belongs to the run that it is given to; until then `discard_files` lets go of it."""
        blob = await self._keep(data)
        return Upload(
            blob=blob.id,
            filename=filename,
            content_type=content_type,
            size=blob.size,
            sha256=blob.sha256,
            path=self.engine.blobs.path(blob.id),
        )

    async def _keep(self, data: bytes) -> Blob:
        writer = await self.engine.blobs.create()
        try:
            await writer.write(data)
            return await writer.commit()
        except BaseException:
            await writer.abort()
            raise

    async def run(self, run: str) -> Run:
        """A run's record. Raises NotFound, as all that follows, also where it is another's."""
        return await self.engine.run(run, owner=_viewer())

    async def runs(
        self,
        *,
        pipeline: str | None = None,
        state: State | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """The caller's runs, newest first; all runs where nobody had to say who they are."""
        who = caller.get()
        if who is not None and who.owner is None:
            return ()
        return await self.engine.store.runs(
            pipeline=pipeline,
            state=state,
            owner=None if who is None else who.owner,
            before=before,
            limit=limit,
        )

    async def live(self, run: str) -> LiveRun:
        """A live run, to look into and to change. Raises NotFound, or Conflict where it is not at
        work in this process (it has ended, or another one works on it)."""
        found = await self.run(run)
        live = self.engine.live(run)
        if live is None:
            raise Conflict(f"run {run!r} is {found.state}, and not at work here")
        return live

    async def amend(self, run: str, document: bytes) -> None:
        """Replace the input by which a run is taken up after a restart. Raises NotFound, Conflict
        where it has ended, InputError."""
        await self.run(run)
        await self.engine.amend(run, document)

    async def document(self, run: str) -> Document:
        """A run's document, as of now. Raises NotFound."""
        return await self.engine.document(run, owner=_viewer())

    async def follow(self, run: str, after: Position = 0) -> Follower:
        """An open follower of a run's log; close it. Raises NotFound."""
        who = caller.get()
        if who is not None and await self._owner(run) not in (None, who.owner):
            raise NotFound(f"there is no run {run!r}")
        return await self.engine.follow(run, after)

    async def _owner(self, run: str) -> str | None:
        """Whose run it is, which never changes."""
        if run not in self._owners:
            if len(self._owners) >= OWNERS:
                del self._owners[next(iter(self._owners))]
            self._owners[run] = (await self.engine.run(run, owner=EVERYBODY)).owner
        return self._owners[run]

    async def events(self, run: str, after: Position = 0) -> AsyncIterator[Event]:
        """A run's events behind `after`, to the last one."""
        follower = await self.follow(run, after)
        try:
            async for batch in follower.batches():
                for line in batch.events:
                    yield decode(line)
        finally:
            follower.close()

    async def outcome(self, run: str) -> Document:
        """A run's document when it has ended."""
        follower = await self.follow(run, LATEST)
        try:
            async for _ in follower.batches():
                pass
        finally:
            follower.close()
        return await self.document(run)

    async def cancel(self, run: str, reason: str, *, by: str = "client") -> bool:
        """Stop a run. False where it had ended."""
        wish = Cancellation(by=by, reason=reason)
        return await self.engine.cancel(run, wish, owner=_viewer())

    @property
    def draining(self) -> bool:
        """Whether this process is shutting down: what ends now was not ended by its client."""
        return self.engine.worker.draining or self.streams.draining

    # --- responses ----------------------------------------------------------------------------

    async def respond(
        self, run: str, form: Form, *, after: Position | None = None, options: Options | None = None
    ) -> Any:
        """Follow a run in the native envelope, on one of the wires, or wait for its outcome."""
        headers = self._headers(run)
        left = self._leaver(run, options)
        begin = LATEST if form == "json" else after or 0
        follower, leave = await self._opened(run, begin)
        if form == "json":

            async def outcome() -> bytes:
                return encode(await self.document(run))

            waiting = OutcomeResponse(
                follower, NDJSON, self.streams, document=outcome, headers=headers, left=left
            )
            waiting.release = leave
            return waiting
        if after is not None and follower.at_end:
            follower.close()
            leave()
            return Response(status_code=204)  # so that an EventSource stops (WHATWG HTML)
        wire = WIRES[form]
        first = with_retry if wire is SSE else None
        stream = EventStream(follower, wire, self.streams, headers=headers, left=left, first=first)
        stream.release = leave
        return stream

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
        retry_ms: int | None = None,
    ) -> Response:
        """Follow a run in an app's own names. The dialect is fed from the first event, and heard
        from behind `after`. `ids`: SSE messages without an id of their own carry the event's
        position. `retry_ms`: what SSE clients are told to wait before they reconnect."""
        follower, leave = await self._opened(run, 0)
        stream = EventStream(
            follower,
            WIRES[wire],
            self.streams,
            framer=Framer(WIRES[wire], dialect, after, ids=ids),
            headers=[*self._headers(run), *headers],
            heartbeat=heartbeat,
            left=self._leaver(run, options),
            content_type=content_type,
            first=None if retry_ms is None else lambda frames: with_retry(frames, retry_ms),
        )
        stream.release = leave
        return stream

    async def respond_from_feed(
        self, reader: FeedReader, wire: Literal["sse", "ndjson"]
    ) -> Response:
        """Follow what a debugger tells, in the native envelope. Whose run it is, the caller has
        asked."""
        try:
            leave = self.places.take()
        except BaseException:
            reader.close()
            raise
        stream = EventStream(
            cast(Follower, reader),  # it does what delivery asks of one
            WIRES[wire],
            self.streams,
            headers=self._headers(reader.run),
            first=with_retry if wire == "sse" else None,
        )
        stream.release = leave
        return stream

    def _headers(self, run: str) -> list[tuple[bytes, bytes]]:
        """Where the run is read, and what limits this request met."""
        told = {"location": self.location(run), **limit_headers()}
        return [(name.lower().encode(), value.encode()) for name, value in told.items()]

    async def _opened(self, run: str, after: Position) -> tuple[Follower, Callable[[], None]]:
        """A follower with a place among the open streams; the place is to be left at its end."""
        leave = self.places.take()
        try:
            return await self.follow(run, after), leave
        except BaseException:
            leave()
            raise

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
    said = header(request, "content-length")
    return int(said) if said is not None and _LENGTH.fullmatch(said) else None


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
    said = query(request, "on_disconnect")
    on_disconnect = "detach" if said is None else said
    if on_disconnect not in ("detach", "cancel"):
        raise _bad("on_disconnect", f"{on_disconnect!r} is neither 'detach' nor 'cancel'")
    key = header(request, "idempotency-key")
    if key is not None and not 0 < len(key) <= 255:
        raise _bad("Idempotency-Key", "from 1 to 255 characters")
    return Options(
        timeout=_seconds(query(request, "timeout"), "timeout"),
        unwatched=_seconds(query(request, "unwatched"), "unwatched"),
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
