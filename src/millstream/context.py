"""Context: what a step may ask for beside its inputs. Same face in a thread, a process, inline.

Holds facts about one attempt and a way home for what the step tells; knows neither the log nor
the engine.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from millstream.errors import StepError
from millstream.events import RESERVED, STEP_PROGRESS


class Facts(Struct, frozen=True):
    """What is known of one attempt when it begins; crosses to other processes as it is."""

    run: str
    pipeline: str
    step: str
    item: int | None = None
    attempt: int = 1
    deadline: float | None = None
    owner: str | None = None
    created: float = 0.0


class Cancelled(BaseException):
    """Raised by `Context.check` in a step whose run was cancelled or ran out of time.

    Not an Exception, so that a step's own `except Exception` does not swallow it.
    """


class Context:
    """A step's view of the run it works for. Ask for it with a parameter annotated `Context`.

    `deadline` is when the run must have ended, in seconds since the epoch, or None.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        send: Callable[[str, Any], None],
        stopped: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._facts, self._send, self._stopped, self._now = facts, send, stopped, now

    @property
    def run(self) -> str:
        """The run's id."""
        return self._facts.run

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self._facts.pipeline

    @property
    def step(self) -> str:
        """The step's name."""
        return self._facts.step

    @property
    def item(self) -> int | None:
        """The item's number in its map (0, 1, 2 …), or None outside of one."""
        return self._facts.item

    @property
    def attempt(self) -> int:
        """1 on the first try."""
        return self._facts.attempt

    @property
    def deadline(self) -> float | None:
        """When the run must have ended, in seconds since the epoch."""
        return self._facts.deadline

    @property
    def created(self) -> float:
        """When the run was accepted, in seconds since the epoch."""
        return self._facts.created

    @property
    def owner(self) -> str | None:
        """Whose run it is; None where nobody logs in."""
        return self._facts.owner

    def remaining(self) -> float | None:
        """Seconds until the deadline (0 when it has passed), or None where there is none."""
        if self._facts.deadline is None:
            return None
        return max(0.0, self._facts.deadline - self._now())

    def now(self) -> float:
        """This moment, in seconds since the epoch; virtual where the clock is."""
        return self._now()

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far this step is: 0 to 1, and a few words. Later ones supersede earlier ones."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction is from 0 to 1, not {fraction!r}")
        data: dict[str, Any] = {"fraction": fraction}
        if message is not None:
            data["message"] = message
        self._send(STEP_PROGRESS, data)

    def emit(self, type: str, data: Any = None) -> None:
        """Append an event of the app's own to the log, such as `"price.quoted"`."""
        if type.startswith(RESERVED):
            raise StepError(
                f"step {self.step!r}: emit({type!r}) uses a reserved prefix; "
                f"choose a name that does not start with one of {', '.join(RESERVED)}",
                code="event_name_reserved",
                retryable=False,
            )
        self._send(type, data)

    @property
    def cancelled(self) -> bool:
        """Whether the work is no longer wanted. Long loops in threads should look now and then."""
        return self._stopped()

    def check(self) -> None:
        """Raise `Cancelled` if the work is no longer wanted."""
        if self._stopped():
            raise Cancelled

    def __repr__(self) -> str:
        f = self._facts
        item = "" if f.item is None else f" item {f.item}"
        return f"<Context run {f.run} step {f.step!r}{item} attempt {f.attempt}>"
