"""The names and shapes that this system's clients know for what happens in a run.

NDJSON lines have no type of their own: some clients tell them apart by their fields, others by
`event`, so each carries both. SSE events are named; a result's id is its URL's index, and the last
event's is the number of URLs. Pure functions of the events.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from millstream import Event, Message
from millstream_apps.extract.outcomes import Began, Done, Ended, Found, Outcomes, Previewed

RETRY_MS = 5000
PROGRESS_FROM, PROGRESS_EVERY = 10, 5
STATUS_FROM, STATUS_EVERY = 20, 10


def line(event: str, **fields: Any) -> Message:
    """One NDJSON line."""
    return Message(None, {"event": event, **fields})


def metadata(outcomes: Outcomes, run: str, stream: str) -> dict[str, Any]:
    """What a stream begins with."""
    return {
        "total_urls": outcomes.total if outcomes.known else 0,
        "request_id": run,
        "timestamp": outcomes.time,
        "stream_type": stream,
    }


def progress(outcomes: Outcomes) -> dict[str, Any]:
    """How far a crawl is."""
    return {
        "completed": outcomes.completed,
        "total": outcomes.total,
        "success_rate": outcomes.success_rate,
    }


def summary(outcomes: Outcomes) -> dict[str, Any]:
    """What a crawl came to."""
    return {
        "total_urls": outcomes.total,
        "successful": outcomes.successful,
        "failed": outcomes.failed,
        "from_cache": outcomes.from_cache,
        "total_processing_time_ms": outcomes.elapsed_ms,
        "cache_hit_rate": outcomes.cache_hit_rate,
    }


def estimated_completion(outcomes: Outcomes) -> str:
    """When the rest will be done, at the pace so far (RFC 3339)."""
    moment = datetime.fromtimestamp(outcomes.now + outcomes.left_seconds(), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class CrawlLines:
    """`crawl` as NDJSON: metadata, a line a result, progress, summary."""

    def __init__(
        self, run: str, outcomes: Outcomes, *, previews: bool = False, stream: str = "crawl"
    ) -> None:
        self._run, self._outcomes, self._previews = run, outcomes, previews
        self._stream = stream

    def __call__(self, event: Event) -> Iterator[Message]:
        """See `millstream.Dialect`."""
        told = self._outcomes
        for moment in told.feed(event):
            match moment:
                case Began():
                    yield line("metadata", **metadata(told, self._run, self._stream))
                case Previewed() if self._previews:
                    yield line("preview", index=moment.index, preview=moment.preview)
                case Done():
                    yield line(
                        "result", index=moment.index, result=moment.result, progress=progress(told)
                    )
                    if told.total > PROGRESS_FROM and told.completed % PROGRESS_EVERY == 0:
                        yield self._operation(moment)
                case Ended():
                    if moment.error is not None:
                        yield line("error", error=moment.error)
                    yield line("summary", **summary(told))
                case _:
                    pass

    def _operation(self, done: Done) -> Message:
        told = self._outcomes
        assert done.result is not None
        return line(
            "progress",
            operation_id="crawl_stream",
            operation_type="batch_crawl",
            started_at=told.started_at,
            current_phase="completed" if told.completed == told.total else "crawling",
            progress_percentage=round(100 * told.completed / told.total, 2),
            items_completed=told.completed,
            items_total=told.total,
            estimated_completion=estimated_completion(told),
            current_item=told.fetching or done.result["url"],
        )


class SearchLines:
    """`deepsearch` as NDJSON: metadata, what was found, a line a page, and the end."""

    def __init__(self, run: str, outcomes: Outcomes, query: str, *, previews: bool = False) -> None:
        self._run, self._outcomes, self._query = run, outcomes, query
        self._previews = previews

    def __call__(self, event: Event) -> Iterator[Message]:
        """See `millstream.Dialect`."""
        told = self._outcomes
        for moment in told.feed(event):
            match moment:
                case Began():
                    yield line("metadata", **metadata(told, self._run, "deepsearch"))
                case Found():
                    yield line(
                        "search",
                        query=self._query,
                        urls_found=moment.urls,
                        search_time_ms=moment.took_ms,
                    )
                case Previewed() if self._previews:
                    yield line("preview", index=moment.index, preview=moment.preview)
                case Done():
                    yield self._result(moment)
                case Ended():
                    if moment.error is not None:
                        yield line("error", error=moment.error)
                    yield self._summary(moment)
                case _:
                    pass

    def _result(self, done: Done) -> Message:
        target = self._outcomes.targets[done.index]
        found = {
            "url": target["url"],
            "rank": target["rank"],
            "search_title": target["title"],
            "search_snippet": target["snippet"],
        }
        return line("result", index=done.index, search_result=found, crawl_result=done.result)

    def _summary(self, ended: Ended) -> Message:
        return line(
            "summary",
            query=self._query,
            total_urls_found=self._outcomes.total,
            total_processing_time_ms=self._outcomes.elapsed_ms,
            status=ended.state,
        )


class CrawlEvents:
    """`crawl` as SSE."""

    def __init__(self, run: str, outcomes: Outcomes, *, previews: bool = False) -> None:
        self._run, self._outcomes, self._previews = run, outcomes, previews

    def __call__(self, event: Event) -> Iterator[Message]:
        """See `millstream.Dialect`."""
        told = self._outcomes
        for moment in told.feed(event):
            match moment:
                case Began():
                    data = metadata(told, self._run, "crawl") | {"retry_interval_ms": RETRY_MS}
                    yield Message("metadata", data)
                case Previewed() if self._previews:
                    data = {"index": moment.index, "preview": moment.preview}
                    yield Message("preview", data)
                case Done():
                    yield from self._done(moment)
                case Ended():
                    if moment.error is not None:
                        yield Message("error", {"error": moment.error})
                    yield Message("complete", self._complete(), id=told.total)
                case _:
                    pass

    def _done(self, done: Done) -> Iterator[Message]:
        told = self._outcomes
        assert done.result is not None
        rate = {"cache_hit_rate": told.cache_hit_rate}
        yield Message("progress", progress(told) | rate)
        data = {
            "index": done.index,
            "result": done.result,
            "processing_time_ms": done.result["processing_time_ms"],
        }
        yield Message("result", data, id=done.index)
        if told.total > STATUS_FROM and told.completed % STATUS_EVERY == 0:
            yield Message("status", self._status())

    def _status(self) -> dict[str, Any]:
        told = self._outcomes
        minutes = max(told.now - told.began, 1e-3) / 60
        return {
            "phase": "completed" if told.completed == told.total else "crawling",
            "items_processed": told.completed,
            "items_remaining": told.total - told.completed,
            "estimated_completion": estimated_completion(told),
            "throughput_per_minute": round(told.completed / minutes, 2),
        }

    def _complete(self) -> dict[str, Any]:
        told = self._outcomes
        average = told.elapsed_ms / told.completed if told.completed else 0.0
        return {
            **summary(told),
            "average_processing_time_ms": round(average, 1),
            "summary": summary(told),
        }


class CrawlFrames:
    """`crawl` as WebSocket frames: `(message_type, data)`."""

    def __init__(self, run: str, session: str, outcomes: Outcomes) -> None:
        self._run, self._session, self._outcomes = run, session, outcomes

    def __call__(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        """The frames that an event means."""
        told = self._outcomes
        for moment in told.feed(event):
            match moment:
                case Began():
                    yield (
                        "metadata",
                        metadata(told, self._run, "crawl") | {"session_id": self._session},
                    )
                case Done():
                    fields = {"index": moment.index, "result": moment.result}
                    yield "result", fields | {"progress": progress(told)}
                case Ended():
                    yield "summary", summary(told) | {"status": moment.state}
                case _:
                    pass
