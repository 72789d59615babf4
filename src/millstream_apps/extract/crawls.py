"""Crawls: this system's requests as runs, and its runs as answers.

A request is a run's input; what its clients read is a dialect of that run's log. Nothing is kept
here: a stream that broke is found again by its run, or by sending the same request once more.
"""

from typing import Any, Literal

from fastapi import Request, Response

from millstream import InputError, Millstream, NotFound, Options
from millstream_apps.extract.dialects import RETRY_MS, CrawlEvents, CrawlLines, SearchLines
from millstream_apps.extract.headers import stream_headers
from millstream_apps.extract.models import CrawlBody, SearchBody
from millstream_apps.extract.outcomes import HITS, PAGES, Done, Ended, Outcomes
from millstream_apps.extract.search import named_in, provider_of
from millstream_apps.extract.settings import ExtractSettings

CRAWL, SEARCH, SITE = "crawl", "deepsearch", "site"
RECENT = 200
"""Runs among which a broken stream's own is looked for."""

ENDED = Response(status_code=204)


class Crawls:
    """The system's requests over one application."""

    def __init__(self, app: Millstream, settings: ExtractSettings) -> None:
        self.app, self.settings = app, settings

    @property
    def service(self) -> Any:
        """The application's service."""
        return self.app.service

    # --- requests in --------------------------------------------------------------------------

    async def start(self, request: Request) -> Any:
        """Start a crawl; its run. Raises InputError, TooLarge, RequestError."""
        document = await self.service.read_document(CRAWL, request)
        return await self.begin(CRAWL, document, request)

    async def search(self, request: Request) -> Any:
        """Start a deep search; its run. Raises NoProvider where nothing can be searched."""
        document = await self.service.read_document(SEARCH, request)
        asked: SearchBody = self.service.engine.inputs[SEARCH].load(document)
        if not named_in(asked.query):
            provider_of(self.settings)
        return await self.begin(SEARCH, document, request)

    async def begin(
        self,
        pipeline: str,
        document: bytes,
        request: Request | None = None,
        *,
        limited: bool = True,
    ) -> Any:
        """Start a run over an input. `limited`: it must end within the settings' time."""
        key = None if request is None else request.headers.get("idempotency-key")
        timeout = self.settings.stream_default_timeout if limited else None
        options = Options(timeout=timeout, key=key)
        return await self.service.start(pipeline, document, options)

    async def broken_off(self, request: Request) -> Any:
        """The run whose stream a request goes on with, or None. It says so by `Last-Event-ID`, and
        names the run by `X-Request-ID` or `?request_id=`, or else sends the same body again."""
        if "last-event-id" not in request.headers:
            return None
        named = request.headers.get("x-request-id") or request.query_params.get("request_id")
        if named:
            return await self.crawl(named)
        document = await self.service.read_document(CRAWL, request)
        recent = await self.service.runs(pipeline=CRAWL, limit=RECENT)
        return next((run for run in recent if run.input == document), None)

    # --- answers out --------------------------------------------------------------------------

    async def stream(
        self,
        run: Any,
        wire: Literal["sse", "ndjson"],
        request: Request,
        *,
        last: int | None = None,
    ) -> Response:
        """A crawl's run on a wire, from behind the result of the URL `last` on."""
        asked: CrawlBody = self.service.input_of(run)
        after = 0 if last is None else await self.position(run.id, asked.urls, last)
        if after is None:
            return ENDED
        dialects = {"sse": CrawlEvents, "ndjson": CrawlLines}
        outcomes, previews = Outcomes(asked.urls), asked.options.previews
        return await self.service.respond_in_dialect(
            run.id,
            wire,
            dialects[wire](run.id, outcomes, previews=previews),
            after=after,
            ids=False,
            retry_ms=RETRY_MS if wire == "sse" else None,
            headers=stream_headers(request, run.id, run.created, self.settings),
            options=self._leaving(request),
        )

    async def stream_search(self, run: Any, request: Request) -> Response:
        """A deep search's run, as NDJSON."""
        asked: SearchBody = self.service.input_of(run)
        previews = asked.crawl_options.previews
        return await self.service.respond_in_dialect(
            run.id,
            "ndjson",
            SearchLines(run.id, Outcomes(None, HITS), asked.query, previews=previews),
            headers=stream_headers(request, run.id, run.created, self.settings),
            options=self._leaving(request),
        )

    async def site(self, request: Request) -> Any:
        """Start the crawl of a site; its run."""
        document = await self.service.read_document(SITE, request)
        return await self.begin(SITE, document, request, limited=False)

    async def site_run(self, run: str) -> Any:
        """The crawl of a site that there is already. Raises NotFound."""
        found = await self.service.run(run)
        if found.pipeline != SITE:
            raise NotFound(f"run {run!r} is no crawl of a site")
        return found

    async def stream_site(self, run: Any, request: Request) -> Response:
        """A site's run, as NDJSON, from its beginning."""
        return await self.service.respond_in_dialect(
            run.id,
            "ndjson",
            CrawlLines(run.id, Outcomes(None, PAGES), stream="site"),
            headers=stream_headers(request, run.id, run.created, self.settings),
            options=self._leaving(request),
        )

    async def outcome(self, run: Any) -> dict[str, Any]:
        """A crawl as one JSON, when it has ended."""
        asked: CrawlBody = self.service.input_of(run)
        outcomes = Outcomes(asked.urls)
        results: dict[int, Any] = {}
        async for event in self.service.events(run.id):
            for moment in outcomes.feed(event):
                if isinstance(moment, Done):
                    results[moment.index] = moment.result
        completed = max(1, outcomes.completed)
        return {
            "request_id": run.id,
            "total_urls": outcomes.total,
            "successful": outcomes.successful,
            "failed": outcomes.failed,
            "from_cache": outcomes.from_cache,
            "results": [results[index] for index in sorted(results)],
            "statistics": {
                "total_processing_time_ms": outcomes.elapsed_ms,
                "avg_processing_time_ms": round(outcomes.elapsed_ms / completed, 1),
                "gate_decisions": outcomes.decisions,
                "cache_hit_rate": outcomes.cache_hit_rate,
            },
        }

    async def urls_of(self, run: str) -> list[str]:
        """The URLs that a crawl was asked for. Raises NotFound."""
        asked: CrawlBody = self.service.input_of(await self.crawl(run))
        return asked.urls

    async def crawl(self, run: str) -> Any:
        """A crawl that there is already. Raises NotFound."""
        found = await self.service.run(run)
        if found.pipeline != CRAWL:
            raise NotFound(f"run {run!r} is no crawl")
        return found

    async def position(self, run: str, urls: list[str], last: int) -> int | None:
        """The position of the event that brought a URL's result; None where the run has ended with
        it. Raises InputError where there is no such result."""
        seq = (await self.service.run(run)).seq
        outcomes, found = Outcomes(urls), None
        if last == len(urls):
            return None
        async for event in self.service.events(run):
            moments = list(outcomes.feed(event))
            if any(isinstance(each, Done) and each.index == last for each in moments):
                found = event.seq
            if any(isinstance(each, Ended) for each in moments) or event.seq >= seq:
                break
            if found is not None:
                break
        if found is None:
            said = f"run {run} has told no result with the id {last}"
            raise InputError(said, errors=[{"field": "Last-Event-ID", "message": said}])
        return found

    def _leaving(self, request: Request) -> Options | None:
        if request.query_params.get("on_disconnect") != "cancel":
            return None
        return Options(on_disconnect="cancel")


def last_result(request: Request) -> int | None:
    """The index of the last result that a client saw: `Last-Event-ID`, or `?after=`. Raises
    InputError."""
    said = request.headers.get("last-event-id") or request.query_params.get("after")
    if said is None or said.strip() == "":
        return None
    if not said.strip().isdecimal():
        fault = f"Last-Event-ID: {said!r} is no id of a result; send the last one that you saw"
        raise InputError(fault, errors=[{"field": "Last-Event-ID", "message": fault}])
    return int(said)
