"""Client: what a Python program holds to start, follow and cancel runs on a Millstream server.

In the client's room. Each method is a few lines over `Link` (one answer) or `Following` (events).
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from millstream.client import body
from millstream.client.body import Files
from millstream.client.following import STREAMED, Following, Request
from millstream.client.link import Clock, Link
from millstream.client.patience import Patience, Pause
from millstream.errors import SettingsError
from millstream.events import Position

OnDisconnect = Literal["detach", "cancel"]
ENDED = frozenset({"completed", "failed", "cancelled"})
LIMITS = httpx.Limits(max_connections=None)  # as many as there are streams
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Client:
    """A client of one server. Use it as `async with Client() as client:`.

    >>> async for event in client.stream("hello", input={"text": "a stream of words"}):
    ...     print(event.type, event.step, event.value)

    `give_up_after`: seconds that a server may be out of reach before ConnectionLost is raised.
    `quiet`: a stream in which nothing came for so many seconds is opened anew, since a connection
    that died without a word looks just so. `on_retry` is called before each pause.
    `now`, `sleep` and `chance` are for tests.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        give_up_after: float = 60.0,
        connect_timeout: float = 5.0,
        quiet: float = 60.0,
        on_retry: Callable[[Pause], object] | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        url = _checked(base_url)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            transport=transport or _transport(url),
            limits=LIMITS,
            timeout=httpx.Timeout(quiet, connect=connect_timeout),
        )
        self._link = Link(
            self._http, Patience(give_up_after=give_up_after), Clock(now, sleep, chance), on_retry
        )
        self._file_fields: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of every connection. Runs go on."""
        await self._http.aclose()

    # --- runs -------------------------------------------------------------------------------

    def stream(
        self,
        pipeline: str,
        *,
        input: Mapping[str, Any] | None = None,
        files: Files | None = None,
        fields: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        unwatched: float | None = None,
        on_disconnect: OnDisconnect = "detach",
        key: str | None = None,
    ) -> Following:
        """Start a run and follow it to its end: each event exactly once, in order, across dropped
        connections and restarts of the server.

        input: the request's JSON. files: paths, (name, bytes) or (name, bytes, content type), for
        the pipeline's one file field, or by field: `{"files": [...]}`. fields: form fields beside
        them, or in place of `input`.
        timeout: seconds until the run's deadline. unwatched: cancel the run when nobody has
        followed it for so many seconds. on_disconnect="cancel": the server cancels the run when
        the connection that started it drops, for whatever reason.
        key: an Idempotency-Key of your own (one is made otherwise), so that the same request from
        elsewhere finds the same run.

        Iterating raises ServerError (refused), ConnectionLost (out of reach for `give_up_after`
        seconds), LogBroken, InputError, and OSError for a file that cannot be read.
        """
        options = _options(timeout=timeout, unwatched=unwatched, on_disconnect=on_disconnect)
        headers = {**STREAMED, "Idempotency-Key": key or uuid.uuid4().hex}
        patient = {} if on_disconnect == "detach" else {"timeout": self._without_quiet()}

        async def start() -> Request:
            make = await self._body(pipeline, files, fields, input)
            return lambda: self._post(pipeline, make(), options, headers, **patient)

        return Following(self._link, start=start)

    async def start(
        self,
        pipeline: str,
        *,
        input: Mapping[str, Any] | None = None,
        files: Files | None = None,
        fields: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        unwatched: float | None = None,
        key: str | None = None,
    ) -> str:
        """Start a run, and return its id as soon as it is durable. See `stream`."""
        options = _options(timeout=timeout, unwatched=unwatched, on_disconnect="detach")
        headers = {
            "Accept": "application/json",
            "Prefer": "respond-async",  # RFC 7240
            "Idempotency-Key": key or uuid.uuid4().hex,
        }
        make = await self._body(pipeline, files, fields, input)
        document = await self._link.attempt(lambda: self._post(pipeline, make(), options, headers))
        return document["id"]

    def follow(self, run: str, after: Position = 0) -> Following:
        """A run's events behind `after`, to its end; like `stream`, across connections."""
        return Following(self._link, run=run, after=after)

    async def run(self, run: str) -> dict[str, Any]:
        """A run's document, as of now."""
        return await self._link.call("GET", _run(run))

    async def outcome(self, run: str) -> dict[str, Any]:
        """A run's document when it has ended."""
        document = await self.run(run)
        while document["state"] not in ENDED:
            async with self.follow(run, after=document["seq"]) as events:
                async for _ in events:
                    pass
            document = await self.run(run)
        return document

    async def cancel(self, run: str, reason: str = "asked to") -> dict[str, Any]:
        """Stop a run; its log will end with `run.cancelled` and the reason. Its document."""
        return await self._link.call("DELETE", _run(run), params={"reason": reason})

    async def runs(
        self,
        *,
        pipeline: str | None = None,
        state: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Runs, newest first, without results. `before`: the id of the last one you have."""
        asked = {"pipeline": pipeline, "state": state, "before": before, "limit": limit}
        params = {name: value for name, value in asked.items() if value is not None}
        return (await self._link.call("GET", "runs", params=params))["runs"]

    # --- pipelines --------------------------------------------------------------------------

    async def pipelines(self) -> list[dict[str, Any]]:
        """What can be run there: names, input schemas, graphs."""
        return (await self._link.call("GET", "pipelines"))["pipelines"]

    async def pipeline(self, name: str) -> dict[str, Any]:
        """One of them. Raises ServerError (`not_found`)."""
        return await self._link.call("GET", f"pipelines/{quote(name, safe='')}")

    # --- requests ---------------------------------------------------------------------------

    async def _body(
        self,
        pipeline: str,
        files: Files | None,
        fields: Mapping[str, Any] | None,
        input: Mapping[str, Any] | None,
    ) -> body.Make:
        field = None
        if files and not isinstance(files, Mapping):
            field = await self._file_field(pipeline)
        return body.compose(body.parts(files, field), fields, input)

    async def _file_field(self, pipeline: str) -> str:
        if pipeline not in self._file_fields:
            description = await self.pipeline(pipeline)
            self._file_fields[pipeline] = body.only_file_field(description)
        return self._file_fields[pipeline]

    def _post(
        self,
        pipeline: str,
        sent: body.Body,
        options: Mapping[str, str],
        headers: Mapping[str, str],
        **more: Any,
    ) -> httpx.Request:
        return self._http.build_request(
            "POST",
            f"pipelines/{quote(pipeline, safe='')}/runs",
            params=options,
            headers={**headers, **sent.headers},
            content=sent.content,
            **more,
        )

    def _without_quiet(self) -> httpx.Timeout:
        """For a stream that must not be left, since leaving it cancels its run."""
        usual = self._http.timeout
        return httpx.Timeout(usual.write, connect=usual.connect, read=None)

    def __repr__(self) -> str:
        return f"<Client of {self._http.base_url}>"


def _run(run: str) -> str:
    return f"runs/{quote(run, safe='')}"


def _options(**given: Any) -> dict[str, str]:
    """Query parameters; what is not given is left to the server."""
    return {name: str(value) for name, value in given.items() if value is not None}


def _checked(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"{base_url!r} is no address ({error})") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(f"{base_url!r} is no address; write it as http://127.0.0.1:8000")
    return url


def _transport(url: httpx.URL) -> httpx.AsyncHTTPTransport | None:
    """For a server on this machine, one that passes by every proxy. None: httpx's own, which knows
    the proxies of the environment."""
    return httpx.AsyncHTTPTransport(limits=LIMITS) if url.host in LOOPBACK else None
