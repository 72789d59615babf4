"""The names that this system's clients know for what happens in a run.

Pure functions of the events. Some clients switch on the SSE event's name and read its data; others
read `event` and `data` inside the JSON: each message carries both.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from millstream import Event, Message
from millstream_apps.decklists.pipeline import VALIDATION

ENDS = {"run.completed", "run.failed", "run.cancelled"}


def message(event: str, **fields: Any) -> Message:
    """An SSE message whose data also says its own name."""
    return Message(event, {"event": event, **fields, "data": fields})


def final_failure(event: Event) -> Mapping[str, Any] | None:
    """The data of a `step.failed` after which there is no further attempt."""
    if event.type != "step.failed" or event.value.get("will_retry"):
        return None
    return event.value


class BatchDialect:
    """A batch: `progress` per file, `result` or `error` per file, and always `complete` at last.

    The numbers of `complete` are folded from the log, and so are its seconds.
    """

    def __init__(self, filenames: Sequence[str]) -> None:
        self._names = filenames
        self._accuracies: list[float] = []
        self._failed: set[int] = set()
        self._began: float | None = None

    def __call__(self, event: Event) -> Iterator[Message]:
        """See `millstream.Dialect`."""
        self._began = self._began or event.timestamp
        if event.type == "step.started" and event.attempt == 1:
            yield from self._progress(event)
        elif event.type == "step.result" and event.step == "decklist":
            yield self._result(event)
        elif (failure := final_failure(event)) is not None and event.item is not None:
            yield self._error(event.item, failure["code"], failure["message"])
        elif event.type in ENDS:
            yield from self._complete(event)

    def _progress(self, event: Event) -> Iterator[Message]:
        status = {"checked": "validating", "scan": "processing"}.get(event.step or "")
        if status is not None and event.item is not None:
            yield message(
                "progress",
                current=event.item + 1,
                total=len(self._names),
                filename=self._names[event.item],
                status=status,
            )

    def _result(self, event: Event) -> Message:
        assert event.item is not None
        self._accuracies.append(event.value["stats"]["accuracy"])
        name = self._names[event.item]
        return message("result", index=event.item, filename=name, decklist=event.value)

    def _error(self, item: int, code: str, said: str) -> Message:
        self._failed.add(item)
        kind = "validation" if code == VALIDATION else "processing"
        return message("error", index=item, filename=self._names[item], error=said, error_type=kind)

    def _complete(self, event: Event) -> Iterator[Message]:
        successful, failed = len(self._accuracies), len(self._failed)
        if event.type != "run.completed":  # the files that the end took with it
            failed = len(self._names) - successful
        average = sum(self._accuracies) / successful if successful else None
        yield message(
            "complete",
            total=len(self._names),
            successful=successful,
            failed=failed,
            average_accuracy=None if average is None else round(average, 2),
            processing_time_seconds=round(event.timestamp - (self._began or 0.0), 2),
        )


class SingleDialect:
    """One picture: `progress` through its phases, then `result` and `complete`, or `error`."""

    PHASES: ClassVar[Mapping[str, tuple[str, str, int]]] = {
        "checked": ("starting", "Checking the picture", 0),
        "scan": ("ocr", "Reading the picture", 20),
        "decklist": ("matching", "Matching cards", 70),
    }

    def __call__(self, event: Event) -> Iterator[Message]:
        """See `millstream.Dialect`."""
        phase = self.PHASES.get(event.step or "")
        if event.type == "step.started" and phase is not None and event.attempt == 1:
            status, said, progress = phase
            yield message("progress", status=status, message=said, progress=progress)
        elif event.type == "step.result" and event.step == "decklist":
            yield message("result", decklist=event.value)
            yield message("complete", status="success", progress=100)
        elif (failure := final_failure(event)) is not None:
            yield message("error", error=failure["code"], message=failure["message"])
        elif event.type in ("run.failed", "run.cancelled"):
            told = event.value or {}
            said = told.get("message") or told.get("reason") or "stopped"
            yield message("error", error=event.type.removeprefix("run."), message=said)
